"""A plan as a patch: a unified diff a file with git's extended headers, and everything else as comments. Pure.

GNU patch since 2.7 and git apply read the headers: modes, new files, links (patch(1), "diff --git"). What the patch
cannot hold (removals, copies, binary files, owners, rebuilds) stands before it in lines that begin with `# `.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence

from imgfix.difference import Difference
from imgfix.tree import Entry, Kind

_CONTEXT = 3
#: More differing lines than this, on both sides together, are told as one block: difflib's time grows with the square.
_MOST_LINES = 20_000
_GIT_FILE = 0o100000
_GIT_LINK = 0o120000
#: What git writes as a letter behind a backslash (quote.c, sq_lookup).
_LETTERS = dict(zip(b'\a\b\t\n\v\f\r"\\', 'abtnvfr"\\', strict=True))

Opcode = tuple[str, int, int, int, int]


def can_hold(difference: Difference) -> bool:
    """Tell whether a patch can make this difference: a text changed or new, a new link, other permission bits."""
    before, after = difference.before, difference.after
    if after is None or difference.source is not None or is_emptied(difference):
        return False
    if after.kind is Kind.LINK:
        return before is None
    if after.kind is Kind.DIRECTORY:
        return False
    return difference.is_text and (before is None or before.kind is Kind.FILE)


def is_emptied(difference: Difference) -> bool:
    """Tell whether a file that held something is empty afterwards."""
    before, after = difference.before, difference.after
    return before is not None and after is not None and before.size > 0 and after.size == 0


def patch(difference: Difference) -> bytes:
    """Return the diff of one path that the patch can hold; paths begin with a/ and b/, content is as it is."""
    old, new = difference.old or b"", difference.new or b""
    after = difference.after
    assert after is not None, "a removal is no patch"
    if after.kind is Kind.LINK:
        new = after.target.encode("utf-8", "surrogateescape")
    names = (_name("a", difference.path), _name("b", difference.path))
    hunks = b"".join(_hunks(_lines(old), _lines(new)))
    head = [f"diff --git {names[0]} {names[1]}", *_modes(difference.before, after)]
    if hunks:
        head += [f"--- {'/dev/null' if difference.before is None else _ended(names[0])}"]
        head += [f"+++ {_ended(names[1])}"]
    return "".join(f"{line}\n" for line in head).encode() + hunks


def _modes(before: Entry | None, after: Entry) -> Iterator[str]:
    if before is None:
        yield f"new file mode {_mode(after):06o}"
    elif _mode(before) != _mode(after):
        yield f"old mode {_mode(before):06o}"
        yield f"new mode {_mode(after):06o}"


def _mode(entry: Entry) -> int:
    return _GIT_LINK if entry.kind is Kind.LINK else _GIT_FILE | (entry.mode & 0o777)


def _name(side: str, path: str) -> str:
    """Return the path below `side` as git quotes it: everything but printable ASCII as octal escapes."""
    raw = f"{side}{path}".encode("utf-8", "surrogateescape")
    if all(0x20 <= byte < 0x7F and byte not in b'"\\' for byte in raw):
        return raw.decode()
    return '"' + "".join(map(_quoted, raw)) + '"'


def _quoted(byte: int) -> str:
    if byte in _LETTERS:
        return f"\\{_LETTERS[byte]}"
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}"


def _ended(name: str) -> str:
    """A tab ends a name with spaces, as behind it patch looks for a date."""
    return f"{name}\t" if " " in name and not name.startswith('"') else name


def _lines(text: bytes) -> list[bytes]:
    """Split after each newline, and nowhere else: a carriage return is a byte of the line."""
    return [line + b"\n" for line in text.split(b"\n")[:-1]] + (
        [last] if (last := text.split(b"\n")[-1]) else []
    )


def _hunks(old: Sequence[bytes], new: Sequence[bytes]) -> Iterator[bytes]:
    for group in _grouped(_opcodes(old, new)):
        first, last = group[0], group[-1]
        yield f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@\n".encode()
        for tag, a, b, c, d in group:
            if tag == "equal":
                yield from _marked(b" ", old[a:b])
            else:
                yield from _marked(b"-", old[a:b])
                yield from _marked(b"+", new[c:d])


def _marked(mark: bytes, lines: Iterable[bytes]) -> Iterator[bytes]:
    for line in lines:
        yield mark + line
        if not line.endswith(b"\n"):
            yield b"\n\\ No newline at end of file\n"


def _range(start: int, end: int) -> str:
    """A range of no lines names the line before it (diff -u)."""
    return f"{start + 1 if end > start else start},{end - start}"


def _opcodes(old: Sequence[bytes], new: Sequence[bytes]) -> list[Opcode]:
    """Compare what is between the equal begin and the equal end of the texts."""
    shorter = min(len(old), len(new))
    head = next((i for i in range(shorter) if old[i] != new[i]), shorter)
    tail = next((i for i in range(shorter - head) if old[-1 - i] != new[-1 - i]), shorter - head)
    a, b, c, d = head, len(old) - tail, head, len(new) - tail
    if (b - a) + (d - c) > _MOST_LINES or not (b - a and d - c):
        middle = [("replace", a, b, c, d)] if b - a or d - c else []
    else:
        matcher = difflib.SequenceMatcher(None, old[a:b], new[c:d], autojunk=False)
        middle = [(tag, a + i, a + j, c + k, c + m) for tag, i, j, k, m in matcher.get_opcodes()]
    ends = [("equal", 0, head, 0, head), ("equal", b, len(old), d, len(new))]
    return [op for op in (ends[0], *middle, ends[1]) if op[2] > op[1] or op[4] > op[3]]


def _grouped(opcodes: Sequence[Opcode]) -> Iterator[list[Opcode]]:
    """Yield hunks: changes with at most _CONTEXT equal lines around them."""
    group: list[Opcode] = []
    for index, (tag, a, b, c, d) in enumerate(opcodes):
        is_last = index == len(opcodes) - 1
        if tag != "equal":
            group.append((tag, a, b, c, d))
            continue
        if group and not is_last and b - a <= 2 * _CONTEXT:
            group.append((tag, a, b, c, d))
            continue
        if group:
            kept = min(_CONTEXT, b - a)
            yield [*group, (tag, a, a + kept, c, c + kept)]
            group = []
        if not is_last:
            kept = min(_CONTEXT, b - a)
            group = [(tag, b - kept, b, d - kept, d)]
    if group:
        yield group
