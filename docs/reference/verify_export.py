#!/usr/bin/env python3
"""A second verifier of exports, written from audit-export.md and log-format.md.

    verify_export.py FILE [--key KEY] [--checkpoint NOTE]...
    verify_export.py --self-test FILE      change a good export in many ways, see each one found

Standard library only; keeps 64 bytes a row. Exit code 0: everything fits. 1: the line says where.
"""
import argparse, base64, binascii, functools, hashlib, io, json, pathlib, random, sys

sys.dont_write_bytecode = True
from check_vectors import HEADER, consistent, included, root, sha


class Wrong(Exception):
    pass


def check(right, what):
    if not right:
        raise Wrong(what)


# -- Ed25519 (RFC 8032, 5.1): points as (x, y), plain and slow -----------------------------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)


def add(a, b):
    (ax, ay), (bx, by) = a, b
    k = D * ax * bx * ay * by % P
    x = (ax * by + ay * bx) * pow(1 + k, -1, P)
    y = (ay * by + ax * bx) * pow(1 - k, -1, P)
    return x % P, y % P


def times(n, point):
    total = (0, 1)
    while n:
        if n & 1:
            total = add(total, point)
        point, n = add(point, point), n >> 1
    return total


def point(data):
    """The point that 32 bytes stand for, or None."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * ROOT_OF_MINUS_1 % P
    if x * x % P != square or (x == 0 and sign):
        return None
    return (P - x if x & 1 != sign else x), y


BASE = point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


@functools.lru_cache
def signed(key, message, signature):
    a, r, s = point(key), point(signature[:32]), int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or a is None or r is None or s >= ORDER:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little")
    return times(s, BASE) == add(r, times(k % ORDER, a))


# -- signed notes (c2sp.org/signed-note, c2sp.org/tlog-checkpoint) -------------------------------


def unbase64(text):
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Wrong("a checkpoint or key is not written in base64") from None
    check(base64.b64encode(data).decode() == text, "base64 in another spelling")
    return data


class Key:
    def __init__(self, text):
        self.text = text
        self.name, found, key = (text.split("+", 2) + ["", ""])[:3]
        key = unbase64(key)
        check(len(key) == 33 and key[0] == 1, "the key is no Ed25519 verifier key")
        self.key, self.hash = key[1:], sha(self.name.encode(), b"\n", key)[:4]
        check(found == self.hash.hex(), "the key's hash does not fit it")

    def open(self, note, own=False):
        """The (size, root) that a note states, if this key signed it."""
        text, _, signatures = note.rpartition("\n\n")
        lines = text.split("\n")
        check(len(lines) >= 3 and all(lines) and note.endswith("\n"), "no signed checkpoint")
        ours = False
        for line in signatures[:-1].split("\n"):
            dash, _, rest = line.partition(" ")
            name, _, blob = rest.partition(" ")
            check(dash == "\u2014" and name, "no signed checkpoint")
            blob = unbase64(blob)
            if name == self.name and blob[:4] == self.hash:
                message = (text + "\n").encode()
                check(signed(self.key, message, blob[4:]), "a signature that does not fit")
                ours = True
        check(ours, "a checkpoint is not signed by this key: signed by another key")
        check(lines[0] == self.name, "a checkpoint of another log")
        check(not own or (len(lines) == 3 and signatures.count("\n") == 1), "more than a checkpoint")
        size, tree = lines[1], unbase64(lines[2])
        check(size.isascii() and size.isdigit() and size == str(int(size)), "no size")
        check(len(tree) == 32, "no root")
        return int(size), tree


# -- the export ----------------------------------------------------------------------------------

BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"


def organisation(text):
    digits = text.removeprefix("org_")
    check(text[:4] == "org_" and len(digits) == 26 and all(d in BASE32 for d in digits), "no id")
    number = sum(BASE32.index(d) << 5 * place for place, d in enumerate(reversed(digits)))
    check(number < 1 << 128, "no id")
    return number.to_bytes(16, "big")


def unhex(text, length=32):
    check(isinstance(text, str) and len(text) == 2 * length, "a hash or salt of another length")
    check(all(c in "0123456789abcdef" for c in text), "no hexadecimal digits")
    return bytes.fromhex(text)


def fields(value, *names):
    check(isinstance(value, dict) and tuple(value) == names, "other fields than an export has")
    return value.values()


def number(value):
    check(type(value) is int and value >= 0, "no number")
    return value


def read(line):
    check(line.endswith(b"\n"), "the line is cut off")
    try:
        text = line[:-1].decode("utf-8")
        value = json.loads(text)
        again = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        raise Wrong("the line cannot be read") from None
    check(again == text, "the line is not spelt as an export spells it")
    return value


def own_row(row, reader):
    """The leaf of a row with parts for the reader, its time and its inclusion proof."""
    seq, header, parts, others, words, proof = fields(
        row, "seq", "header", "parts", "others", "words", "inclusion")
    match = HEADER.fullmatch(header)
    check(match and int(match[1]) == number(seq), "the header is of another row")
    entries, count, bodies, lists = set(), len(others), [], []
    for part in parts:
        readers, salt, body = fields(part, "readers", "salt", "body")
        readers, salt = [organisation(one) for one in readers], unhex(salt, 16)
        check(readers == sorted(set(readers)) and reader in readers, "a part is not the reader's")
        hashed = sha(b"comity/part/1", salt, body.encode())
        entries |= {sha(b"comity/reader/1", salt, one) + hashed for one in readers}
        count += len(readers)
        bodies.append(json.loads(body))
        lists.append(readers)
    check(lists and all(a < b for a, b in zip(lists, lists[1:])), "parts are missing or out of order")
    given = [unhex(tag) + unhex(hashed) for tag, hashed in others]
    check(all(a < b for a, b in zip(given, given[1:])), "entries are out of order")
    entries = sorted(entries | set(given))
    check(len(entries) == count, "an entry stands twice")
    header = header.encode()
    leaf = sha(b"\0", len(header).to_bytes(4, "big"), header, count.to_bytes(4, "big"), *entries)
    places = []
    for word in words:
        part, place, salt, text = fields(word, "part", "word", "salt", "text")
        places.append((number(part), number(place)))
        found = sha(b"comity/word/1", unhex(salt, 16), text.encode()).hex()
        check(bodies[part]["words"][place][2] == found, "a word is not the one it commits to")
    check(places == sorted(set(places)), "words are out of order")
    return leaf, int(match[2]), [unhex(one) for one in proof]


class Export:
    def __init__(self, first, pinned_key, held):
        form, who, self.since, self.size, tree, key = fields(
            first, "format", "organisation", "since", "size", "root", "key")
        check(form == "comity audit export 1", "another format")
        self.reader, self.root, self.key = organisation(who), unhex(tree), Key(key)
        check(0 < number(self.size) >= number(self.since), "sizes that make no sense")
        check(pinned_key in (None, key), "signed by another key than the one named")
        self.held = [self.key.open(note) for note in held]
        check(all(size <= self.size for size, _ in self.held), "it ends before a checkpoint that is held")
        self.leaves, self.edge, self.at, self.last, self.rows = [], [], 0, None, 0
        self.compare_held()

    def tree(self):
        """The root over all leaves so far, from the roots of the perfect subtrees."""
        total = None
        for _, peak in reversed(self.edge):
            total = peak if total is None else sha(b"\1", peak, total)
        return total or sha()

    def push(self, leaf):
        check(self.leaves or self.key.name == "comity/" + leaf[:16].hex(), "the key is of another log")
        self.leaves.append(leaf)
        self.edge.append((1, leaf))
        while len(self.edge) > 1 and self.edge[-1][0] == self.edge[-2][0]:
            (count, right), (_, left) = self.edge.pop(), self.edge.pop()
            self.edge.append((2 * count, sha(b"\1", left, right)))
        check(len(self.leaves) <= self.size, "more rows than the first line states")
        self.compare_held()

    def compare_held(self):
        for size, tree in self.held:
            if size == len(self.leaves):
                check(tree == self.tree(), f"another history: a checkpoint over {size} rows that is held")

    def line(self, kind, value):
        here = len(self.leaves)
        if kind == "leaves":
            start, leaves = fields(value, "from", "leaves")
            check(start == here + 1, f"row {here + 1} should stand here")
            check(0 < len(leaves) <= 256, "no leaves, or too many")
            for leaf in leaves:
                self.push(unhex(leaf))
        elif kind == "row":
            leaf, at, proof = own_row(value, self.reader)
            check(value["seq"] == here + 1, f"row {here + 1} should stand here")
            check(value["seq"] > self.since and at >= self.at, "a row too early")
            check(here < self.size and included(leaf, here, self.size, proof) == self.root,
                  "the row or its proof was changed: its leaf is not in the tree")
            self.at, self.rows = at, self.rows + 1
            self.push(leaf)
        elif kind == "checkpoint":
            note, proof = fields(value, "note", "consistency")
            proof, tree = [unhex(one) for one in proof], self.tree()
            check(self.key.open(note, own=True) == (here, tree), "a checkpoint over another tree")
            if self.last is None:
                check(here and not proof, "a proof from nothing")
            else:
                old, before = self.last
                check(old < here and consistent(old, here, proof, before) == [before, tree],
                      "the consistency proof does not hold")
            check(here < self.size or tree == self.root, "the first line states another root")
            self.last = here, tree
        else:
            raise Wrong("a line of no kind")


def verify(lines, pinned_key=None, held=()):
    """What an export says; raises Wrong with the line's number before it."""
    export, digest, ended, n = None, hashlib.sha256(), False, 0
    try:
        for n, line in enumerate(lines, 1):
            check(not ended, "a line after the last")
            value = read(line)
            if export is None:
                export = Export(value, pinned_key, held)
            else:
                check(isinstance(value, dict) and len(value) == 1, "a line of no kind")
                kind, value = next(iter(value.items()))
                if kind == "end":
                    count, found = fields(value, "lines", "digest")
                    check(count == n - 1 and unhex(found) == digest.digest(), "other lines above it")
                    check(export.last and export.last[0] == export.size, "the newest checkpoint is missing")
                    ended = True
                else:
                    export.line(kind, value)
            digest.update(line)
        n += 1
        check(ended, "the export is cut off here")
    except Wrong as wrong:
        raise Wrong(f"line {n}: {wrong}") from None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as odd:
        raise Wrong(f"line {n}: of another shape ({odd!r})") from None
    check(root(export.leaves) == export.root, "the root")  # once more, by the definition
    return export


def self_test(lines):
    """Many changes, also such as keep the last line fitting; each must be found."""
    chance, done = random.Random(1), 0
    verify(lines)
    while done < 300:
        changed, at = list(lines), chance.randrange(1, len(lines) - 1)
        other = chance.randrange(1, len(lines) - 1)
        kind = chance.randrange(6)
        if kind == 0:
            del changed[at]
        elif kind == 1:
            changed[at], changed[other] = changed[other], changed[at]
        elif kind == 2:
            changed.insert(at, changed[other])
        else:
            line = bytearray(changed[at])
            place = chance.randrange(len(line) - 1)
            line[place] = chance.choice(b"0123456789abcdef" if kind > 3 else bytes(range(256)))
            changed[at] = bytes(line)
        if changed == lines:
            continue
        above = b"".join(changed[:-1])
        end = {"lines": len(changed) - 1, "digest": sha(above).hex()}
        if chance.random() < 0.7:
            changed[-1] = json.dumps({"end": end}, separators=(",", ":")).encode() + b"\n"
        try:
            verify(io.BytesIO(b"".join(changed)))
        except Wrong:
            done += 1
        else:
            sys.exit(f"verify_export: NOT FOUND: change {done}, line {at + 1}")
    print(f"verify_export: {done} changes, each found")


def main():
    arguments = argparse.ArgumentParser(description="Verify an export of Comity's log.")
    arguments.add_argument("file", type=pathlib.Path)
    arguments.add_argument("--key", help="the key that must have signed")
    arguments.add_argument("--checkpoint", type=pathlib.Path, action="append", default=[])
    arguments.add_argument("--self-test", action="store_true")
    given = arguments.parse_args()
    with given.file.open("rb") as file:
        if given.self_test:
            return self_test(file.readlines())
        try:
            held = [note.read_text("utf-8") for note in given.checkpoint]
            export = verify(file, given.key, held)
        except Wrong as wrong:
            sys.exit(f"verify_export: {given.file.name}: {wrong}")
    print(f"{given.file.name}: everything fits ({export.rows} of {export.size} rows shown)")
    print(f"root {export.root.hex()}\nkey  {export.key.text}")


if __name__ == "__main__":
    main()
