"""Unified diffs of a guest's texts, as lines. Pure."""

from __future__ import annotations

import difflib

#: More lines than this of one diff help nobody.
MAX_LINES = 400
#: Lines around each change.
_CONTEXT = 2
#: difflib takes time that grows with the product of both sides' lines.
_MAX_COMPARED = 6000


def diff(before: str, after: str) -> tuple[tuple[str, ...] | None, str]:
    """Return the lines of a unified diff without heading, or None and why there is none.

    A missing end of the last line is told as `patch` wants it told.
    """
    old, new = before.splitlines(), after.splitlines()
    if max(len(old), len(new)) > _MAX_COMPARED:
        return None, f"{len(old)} and {len(new)} lines"
    lines = list(difflib.unified_diff(_kept(before), _kept(after), n=_CONTEXT, lineterm=""))[2:]
    shown = [part for line in lines for part in _told(line)]
    if len(shown) > MAX_LINES:
        return (*shown[:MAX_LINES], f"\\ {len(shown) - MAX_LINES} more lines"), ""
    return tuple(shown), ""


def _kept(text: str) -> list[str]:
    """Lines by \\n alone: what splitlines() takes for an end of a line besides is content here."""
    *whole, rest = text.split("\n")
    return [*(f"{line}\n" for line in whole), *([rest] if rest else [])]


def _told(line: str) -> tuple[str, ...]:
    if line.startswith("@@"):
        return (line,)
    return (line[:-1],) if line.endswith("\n") else (line, "\\ No newline at end of file")
