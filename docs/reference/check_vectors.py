#!/usr/bin/env python3
"""A second verifier, written from log-format.md: checks log-vectors.json or names what is wrong."""
import hashlib, json, pathlib, re, struct, sys

HEADER = re.compile(r'\{"v":1,"seq":([1-9]\d*),"at":(0|[1-9]\d*),"kind":"[!#-\[\]-~]+",'
                    r'"kind_v":[1-9]\d*,"command":"[!#-\[\]-~]+"\}', re.ASCII)


def sha(*pieces):
    return hashlib.sha256(b"".join(pieces)).digest()


def check(right, what):
    if not right:
        sys.exit(f"check_vectors: WRONG: {what}")


def split(n):  # the largest power of two below n
    return 1 << ((n - 1).bit_length() - 1)


def root(leaves):
    if len(leaves) < 2:
        return leaves[0] if leaves else sha()
    k = split(len(leaves))
    return sha(b"\1", root(leaves[:k]), root(leaves[k:]))


def included(leaf, index, size, proof):
    """The root an inclusion proof leads to, or None when its length is wrong."""
    if size == 1:
        return None if proof else leaf
    k = split(size)
    in_left = index < k
    inside = (index, k) if in_left else (index - k, size - k)
    inner = proof and included(leaf, *inside, proof[:-1])
    return inner and sha(b"\1", *((inner, proof[-1]) if in_left else (proof[-1], inner)))


def consistent(old, new, proof, old_root):
    """The [old, new] roots a proof leads to, or None; old_root is None below a right subtree."""
    if old == new:
        start = [*([old_root] if old_root else []), *proof]
        return start * 2 if len(start) == 1 else None
    k = split(new)
    in_left = old <= k
    inside = (old, k, proof[:-1], old_root) if in_left else (old - k, new - k, proof[:-1], None)
    inner = proof and consistent(*inside)
    if in_left:
        return inner and [inner[0], sha(b"\1", inner[1], proof[-1])]
    return inner and [sha(b"\1", proof[-1], one) for one in inner]


def check_row(seq, row, earlier):
    name, entries = f"row {seq} ({row['name']})", set()
    match = HEADER.fullmatch(row["header"])
    check(match and int(match[1]) == seq and int(match[2]) >= earlier, f"{name}: header")
    for n, part in enumerate(row["parts"]):
        salt = bytes.fromhex(part["salt"])
        readers = [bytes.fromhex(reader) for reader in part["readers"] or ["00" * 16]]
        tags = [sha(b"comity/reader/1", salt, reader) for reader in readers]
        check([tag.hex() for tag in tags] == part["tags"], f"{name}: part {n}: tags")
        hashed = sha(b"comity/part/1", salt, part["body"].encode())
        check(hashed.hex() == part["hash"], f"{name}: part {n}: hash")
        entries |= {tag + hashed for tag in tags}
    shown = [bytes.fromhex(tag + hashed) for tag, hashed in row["entries"]]
    check(shown == sorted(entries), f"{name}: entries")
    header = row["header"].encode()
    leaf = sha(b"\0", struct.pack(">I", len(header)), header, struct.pack(">I", len(shown)), *shown)
    check(leaf.hex() == row["leaf"], f"{name}: leaf")
    return leaf, int(match[2])


def main(path):
    raw, leaves, at = json.loads(path.read_text("utf-8")), [], 0
    check(raw["format"] == "comity log 1", "format")
    check(all(raw[k] for k in ("words", "rows", "inclusion", "consistency")), "a list is empty")
    bodies = "".join(part["body"] for row in raw["rows"] for part in row["parts"])
    for n, word in enumerate(raw["words"]):
        check(f'"{word["commitment"]}"' in bodies, f"word {n}: its commitment is in no body")
        if word["text"] is not None:
            found = sha(b"comity/word/1", bytes.fromhex(word["salt"]), word["text"].encode())
            check(found.hex() == word["commitment"], f"word {n}: commitment")
    for seq, row in enumerate(raw["rows"], 1):
        leaf, at = check_row(seq, row, at)
        leaves.append(leaf)
    roots = [root(leaves[:size]) for size in range(len(leaves) + 1)]
    check([one.hex() for one in roots] == raw["roots"], "roots")
    for n, case in enumerate(raw["inclusion"]):
        i, size, proof = case["index"], case["size"], [bytes.fromhex(h) for h in case["proof"]]
        right = i < size and included(leaves[i], i, size, proof) == roots[size]
        check(right == case["holds"], f"inclusion {n}")
    for n, case in enumerate(raw["consistency"]):
        old, new, proof = case["old"], case["new"], [bytes.fromhex(h) for h in case["proof"]]
        right = old and consistent(old, new, proof, roots[old]) == [roots[old], roots[new]]
        check((right or (old == 0 and not proof)) == case["holds"], f"consistency {n}")
    print(f"{path.name}: all vectors hold ({len(leaves)} rows)")


if __name__ == "__main__":
    main(pathlib.Path(*sys.argv[1:] or [__file__.replace("check_vectors.py", "log-vectors.json")]))
