"""Excerpts for messages: the line that a message points at, with carets under the place. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

#: file:line:column, as a message begins that points somewhere.
_PLACE = re.compile(r"^(?P<file>.+?):(?P<line>[0-9]+):(?P<column>[0-9]+): ")
#: What stands at the place: a key, a word, a quoted value.
_TOKEN = re.compile(r"\"[^\"]*\"?|'[^']*'?|[^\s:,#\[\]{}]+")
#: A line longer than this (characters) is cut on both sides of the place.
_WIDTH = 100


def with_excerpts(message: str, read: Callable[[str], str | None]) -> str:
    """Return `message` with the line of the file behind each of its lines that names one.

    `read` returns the text of a file, or None where there is nothing to be shown of it.
    """
    shown: list[str] = []
    for line in message.split("\n"):
        shown.append(line)
        found = _PLACE.match(line)
        text = read(found["file"]) if found else None
        if found and text is not None:
            shown += _excerpt(text, int(found["line"]), int(found["column"]))
    return "\n".join(shown)


def _excerpt(text: str, line: int, column: int) -> list[str]:
    lines = text.split("\n")
    if not 0 < line <= len(lines) or not 0 < column <= len(lines[line - 1]) + 1:
        return []
    content = lines[line - 1].replace("\t", " ").rstrip("\r")
    token = _TOKEN.match(content, column - 1)
    carets = "^" * max(1, min(len(token[0]) if token else 1, _WIDTH // 2))
    first = max(0, column - 1 - _WIDTH // 2)
    gutter = f"{line:>5} | "
    return [
        gutter + content[first : first + _WIDTH],
        " " * (len(gutter) - 2) + "| " + " " * (column - 1 - first) + carets,
    ]
