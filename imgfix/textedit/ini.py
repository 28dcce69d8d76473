"""Files of sections and keys: NetworkManager's keyfiles and configuration, systemd-networkd's files.

Grammars, by consumer:

- GLIB, https://docs.gtk.org/glib/struct.KeyFile.html: `#` starts a comment line, sections of one name are one, of
  equal keys the last counts, and any other line makes the whole file unreadable, which here is an error.
- SYSTEMD, https://www.freedesktop.org/software/systemd/man/latest/systemd.syntax.html: `#` and `;` start comment
  lines, a backslash at the end continues a line, sections and keys may repeat; a line without an equals sign is
  skipped, a header without its `]` is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from imgfix.errors import ParseError
from imgfix.textedit import physical_lines


class Grammar(Enum):
    """Who reads the file."""

    GLIB = "keyfile"
    SYSTEMD = "systemd"


@dataclass(frozen=True, slots=True)
class Entry:
    """One `key=value` on the lines `line` to `last` (1-based); `block` numbers the section headers before it."""

    line: int
    last: int
    section: str
    block: int
    key: str
    value: str


def parse(text: str, grammar: Grammar) -> tuple[Entry, ...]:
    """Return the entries of `text`, in order. Raises ParseError with the line."""
    section, block = "", 0
    found: list[Entry] = []
    for line, last, body in _logical_lines(text, grammar):
        if body.startswith("["):
            section, block = _header(body, line, grammar), block + 1
            continue
        key, equals, value = body.partition("=")
        if (equals and key.strip() and block) or grammar is Grammar.SYSTEMD:
            if equals and key.strip() and block:
                found.append(Entry(line, last, section, block, key.rstrip(), value.lstrip()))
            continue
        problem = "a key outside of a section" if equals and key.strip() else "neither a section nor a key"
        raise ParseError(f"keyfile: {problem}: {body!r}", line=line)
    return tuple(found)


def get(entries: tuple[Entry, ...], section: str, key: str) -> str | None:
    """Return the value of `key` in `section`, the last one, or None."""
    return next((e.value for e in reversed(entries) if e.section == section and e.key == key), None)


def without(text: str, grammar: Grammar, drop: Callable[[Entry], bool]) -> str:
    """Return `text` without the lines of the entries for which `drop` holds."""
    gone = {n for e in parse(text, grammar) if drop(e) for n in range(e.line, e.last + 1)}
    lines = physical_lines.split(text)
    return "".join(line for number, line in enumerate(lines, 1) if number not in gone)


def _header(body: str, line: int, grammar: Grammar) -> str:
    name, bracket, rest = body[1:].partition("]")
    if not bracket or rest.strip() or (not name and grammar is Grammar.GLIB):
        raise ParseError(f"{grammar.value}: the section header {body!r} is not closed", line=line)
    return name


def _logical_lines(text: str, grammar: Grammar) -> Iterator[tuple[int, int, str]]:
    """Yield (first line, last line, body), continuations joined; no comments, no blank lines."""
    marks = "#;" if grammar is Grammar.SYSTEMD else "#"
    whole, begin, number = "", 0, 0
    for number, physical in enumerate(text.split("\n"), 1):
        line = physical.strip(" \t\r\f\v")
        if (line[:1] in marks) if line else not whole:
            continue
        begin = begin or number
        if grammar is Grammar.SYSTEMD and line.endswith("\\"):
            whole += line[:-1] + " "
            continue
        yield begin, number, (whole + line).strip()
        whole, begin = "", 0
    if whole.strip():
        yield begin, number, whole.strip()
