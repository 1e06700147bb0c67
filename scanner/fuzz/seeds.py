#!/usr/bin/env python3
"""Packs a corpus into one text of the repository, and takes it out again.

    seeds.py unpack FILE DIR    a file in DIR for each line of FILE
    seeds.py pack DIR FILE      the other way, smallest first, up to 300 KiB

A line is a seed: what is no printable ASCII is escaped, and the backslash.
"""
import hashlib
import pathlib
import sys

MOST = 300 * 1024
NAMED = {9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\"}


def escape(seed):
    plain = lambda b: chr(b) if 32 <= b < 127 else f"\\x{b:02x}"
    return "".join(NAMED.get(b) or plain(b) for b in seed)


def unescape(line):
    return line.encode("ascii").decode("unicode_escape").encode("latin-1")


def main(command, source, target):
    source, target = pathlib.Path(source), pathlib.Path(target)
    if command == "unpack":
        target.mkdir(parents=True, exist_ok=True)
        for line in source.read_text("ascii").splitlines():
            seed = unescape(line)
            (target / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    elif command == "pack":
        seeds = {file.read_bytes() for file in source.iterdir() if file.is_file()}
        lines, size = [], 0
        for line in sorted(map(escape, seeds), key=lambda line: (len(line), line)):
            size += len(line) + 1
            if size > MOST:
                break
            lines.append(line + "\n")
        target.write_text("".join(lines), "ascii")
    else:
        sys.exit(__doc__)


if len(sys.argv) != 4:
    sys.exit(__doc__)
main(*sys.argv[1:])
