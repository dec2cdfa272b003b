"""A server that does with a question whatever it is told, byte by byte."""

import json
import os
import re
import socket
import threading
import time
from pathlib import Path

PLACE = os.environ.get("COMITY_BAD_ANSWERS", Path(__file__).parent / "../../bad-answers.json")
TABLE = json.loads(Path(PLACE).read_text())


def made(bad):
    """The bytes of one whole answer."""
    body = bad.get("body", "").replace("YES", TABLE["yes"])
    if "replace" in bad:
        assert bad["replace"][0] in body
        body = body.replace(*bad["replace"])
    headers = {
        "content-type": bad.get("type", "application/json"),
        "connection": "close",
        **bad.get("headers", {}),
    }
    status = bad.get("status", 200)
    if status != 204:
        headers["content-length"] = str(len(body.encode()))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n{body}".encode()


YES = made({"body": "YES"})
HEAD = b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\n"


def answerer(bad):
    """What one connection gets: a function from it and the request."""
    yes = TABLE["yes"].encode()
    length = b"content-length: %d\r\n\r\n"

    def drip(connection, _):
        connection.sendall(HEAD + b"\r\n")
        for _ in range(40):
            connection.sendall(b" ")
            time.sleep(0.05)

    def stall_in_body(connection, _):
        connection.sendall(HEAD + length % len(yes) + b"{")
        time.sleep(2)

    acts = {
        None: lambda c, request: c.sendall(YES if b" /yes " in request else made(bad)),
        "huge": lambda c, _: c.sendall(HEAD + b"\r\n" + b" " * 2_000_000 + yes),
        "stall": lambda c, _: time.sleep(2),
        "stall_in_body": stall_in_body,
        "drip": drip,
        "close": lambda c, _: None,
        "cut": lambda c, _: c.sendall(HEAD + length % (len(yes) + 1) + yes),
        "garbage": lambda c, _: c.sendall(b"+OK " + yes + b"\r\n\r\n"),
    }
    return acts[bad.get("act")]


class Stub:
    """Serves until the end of its block."""

    def __init__(self, answer):
        self.answer, self.requests = answer, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection):
        got = b""
        try:
            with connection:
                while True:
                    head, _, body = got.partition(b"\r\n\r\n")
                    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                    if b"\r\n\r\n" in got and len(body) >= int(length[1] if length else 0):
                        break
                    more = connection.recv(65536)
                    if not more:
                        return
                    got += more
                self.requests.append(got.decode())
                self.answer(connection, got)
        except OSError:
            pass
