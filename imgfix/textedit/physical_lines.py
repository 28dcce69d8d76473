"""Physical lines: a text cut at LF only, so that joining the pieces gives the same text again.

`str.splitlines` also cuts at form feeds, U+0085, U+2028 and a lone CR, which no consumer of these files does.
"""

from __future__ import annotations


def split(text: str) -> list[str]:
    """Return the lines of `text`, each with its LF; the last one may lack it. Empty text has no lines."""
    lines = text.split("\n")
    last = lines.pop()
    return [line + "\n" for line in lines] + ([last] if last else [])


def body_and_end(line: str) -> tuple[str, str]:
    """Return a line as its text and its ending: CRLF, LF or nothing."""
    for end in ("\r\n", "\n"):
        if line.endswith(end):
            return line[: -len(end)], end
    return line, ""


def newline(text: str) -> str:
    """Return the line ending a new line in `text` should have: that of its first line, else LF."""
    first = text.find("\n")
    return "\r\n" if first > 0 and text[first - 1] == "\r" else "\n"


def number(text: str, offset: int) -> int:
    """Return the 1-based number of the line that holds `offset`."""
    return text.count("\n", 0, offset) + 1


def insert(lines: list[str], index: int, body: str, end: str) -> list[str]:
    """Return `lines` with a line `body` put in before `index`; a missing newline before it is supplied."""
    before, after = list(lines[:index]), list(lines[index:])
    if before and not before[-1].endswith("\n"):
        before[-1] += end
    return [*before, body + end, *after]
