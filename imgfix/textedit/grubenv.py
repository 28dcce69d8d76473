r"""GRUB's environment block, /boot/grub*/grubenv: `name=value` lines in a file whose size never changes.

Grammar: https://github.com/rhboot/grub2/blob/master/grub-core/lib/envblk.c: a signature line, comment
lines, entries in which a backslash escapes a backslash or a line end, and `#` up to the end. GRUB writes
the block in place, so that the file must keep its size (1,024 bytes as grub-editenv creates it).
"""

from __future__ import annotations

from dataclasses import dataclass

from imgfix.errors import ParseError

SIGNATURE = b"# GRUB Environment Block\n"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry: its name and value, and its offsets in the block, line end included."""

    name: str
    value: str
    start: int
    end: int


def parse(block: bytes) -> dict[str, str]:
    """Return the variables of `block`, in order. Raises ParseError if it is not an environment block.

    Bytes that are not UTF-8 come as surrogates.
    """
    return {entry.name: entry.value for entry in _entries(block)[0]}


def set_value(block: bytes, name: str, value: str | None) -> bytes:
    """Return `block`, of the same size, with `name` set to `value`, or without it if `value` is None.

    Raises ParseError if it is not an environment block or has no room, ValueError on what is not a name.
    """
    if not name or name.startswith("#") or any(c in name for c in "=\n\\"):
        raise ValueError(f"not a name of the environment block: {name!r}")
    entries, end = _entries(block)
    content = block[:end]
    mine = [entry for entry in entries if entry.name == name]
    line = b"" if value is None else _encoded(name, value)
    # GRUB reads from the front and lets a later entry win; its own editor changes the first: leave just one.
    for entry in reversed(mine[1:]):
        content = content[: entry.start] + content[entry.end :]
    if mine:
        content = content[: mine[0].start] + line + content[mine[0].end :]
    else:
        content += line
    if len(content) > len(block):
        raise ParseError(f"environment block: {len(content)} bytes needed for {name}, {len(block)} available")
    return content + b"#" * (len(block) - len(content))


def _encoded(name: str, value: str) -> bytes:
    escaped = value.replace("\\", "\\\\").replace("\n", "\\\n")
    return f"{name}={escaped}\n".encode("utf-8", "surrogateescape")


def _entries(block: bytes) -> tuple[list[_Entry], int]:
    """Return the entries, and the offset at which the padding begins."""
    if not block.startswith(SIGNATURE):
        raise ParseError("environment block: the first line is not '# GRUB Environment Block'", line=1)
    entries: list[_Entry] = []
    at = len(SIGNATURE)
    while at < len(block):
        end = _line_end(block, at)
        if end is None:
            # The rest has no line end: it must be padding.
            if block[at:].strip(b"#"):
                number = block.count(b"\n", 0, at) + 1
                raise ParseError("environment block: text behind the last line", line=number)
            return entries, at
        if block[at : at + 1] != b"#":
            entries.append(_entry(block, at, end))
        at = end
    return entries, at


def _line_end(block: bytes, start: int) -> int | None:
    """Return the offset behind the first LF that is not escaped."""
    at = start
    comment = block[start : start + 1] == b"#"
    while at < len(block):
        if block[at : at + 1] == b"\\" and not comment:
            at += 2
            continue
        if block[at : at + 1] == b"\n":
            return at + 1
        at += 1
    return None


def _entry(block: bytes, start: int, end: int) -> _Entry:
    line = block[start : end - 1].decode("utf-8", "surrogateescape")
    name, equals, raw = line.partition("=")
    if not equals or not name:
        raise ParseError(
            "environment block: a line without a name and '='", line=block.count(b"\n", 0, start) + 1
        )
    value, escaped = [], False
    for char in raw:
        escaped = char == "\\" and not escaped
        if not escaped:
            value.append(char)
    return _Entry(name, "".join(value), start, end)
