"""/etc/network/interfaces and what it sources: ifupdown's stanzas.

Grammar: interfaces(5) and https://salsa.debian.org/debian/ifupdown/-/blob/master/config.c: a line is continued by a
backslash at its end, `#` starts a comment only as the first character of a line, the first word says what the line
is, and any other word is an option of the `iface` or `mapping` before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from imgfix.errors import ParseError
from imgfix.textedit import physical_lines

#: First words of lines that take no options behind them; `allow-*` is one, too.
_LINES = ("auto", "no-auto-down", "no-scripts", "rename", "source", "source-directory", "source-dir")
_STANZAS = ("iface", "mapping")


@dataclass(frozen=True, slots=True)
class Option:
    """One option line of a stanza: its first word, and the rest with single blanks."""

    line: int
    last: int
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Stanza:
    """One line with its options, on the lines `line` to `last` (1-based). `words` are those behind the first."""

    line: int
    last: int
    kind: str
    words: tuple[str, ...]
    options: tuple[Option, ...] = ()

    @property
    def name(self) -> str:
        """The interface (or pattern) that an iface or a mapping is for."""
        return self.words[0] if self.words else ""

    @property
    def starts(self) -> bool:
        """Tell whether its words are interfaces that come up at boot or when they appear."""
        return self.kind == "auto" or self.kind.startswith("allow-")


def parse(text: str) -> tuple[Stanza, ...]:
    """Return the stanzas of `text`. Raises ParseError, with the line, on what ifup would refuse."""
    found: list[Stanza] = []
    is_open = False
    for line, last, words in _logical_lines(text):
        kind = words[0]
        if kind in _LINES or kind.startswith("allow-") or kind in _STANZAS:
            if kind == "iface" and len(words) < 2:
                raise ParseError("interfaces: iface without a name", line=line)
            found.append(Stanza(line, last, kind, tuple(words[1:])))
            is_open = kind in _STANZAS
        elif not is_open:
            raise ParseError(f"interfaces: the option {kind!r} outside of an iface", line=line)
        else:
            before = found[-1]
            option = Option(line, last, kind, " ".join(words[1:]))
            found[-1] = Stanza(before.line, last, before.kind, before.words, (*before.options, option))
    return tuple(found)


def without(text: str, drop: Callable[[Stanza], bool]) -> str:
    """Return `text` without the stanzas for which `drop` holds; comments between their options go along."""
    gone = {n for s in parse(text) if drop(s) for n in range(s.line, s.last + 1)}
    return _without_lines(text, gone)


def without_options(text: str, drop: Callable[[Stanza, Option], bool]) -> str:
    """Return `text` without the option lines for which `drop` holds."""
    gone = {n for s in parse(text) for o in s.options if drop(s, o) for n in range(o.line, o.last + 1)}
    return _without_lines(text, gone)


def without_starts(text: str, drop: Callable[[str], bool]) -> str:
    """Return `text` without the names for which `drop` holds in auto and allow- lines; empty lines go."""
    lines = physical_lines.split(text)
    for stanza in reversed(parse(text)):
        kept = [word for word in stanza.words if not drop(word)]
        if not stanza.starts or len(kept) == len(stanza.words):
            continue
        first = lines[stanza.line - 1]
        indent = first[: len(first) - len(first.lstrip(" \t"))]
        end = physical_lines.body_and_end(lines[stanza.last - 1])[1]
        new = [f"{indent}{stanza.kind} {' '.join(kept)}{end}"] if kept else []
        lines[stanza.line - 1 : stanza.last] = new
    return "".join(lines)


def appended(text: str, block: tuple[str, ...]) -> str:
    """Return `text` with the lines of `block` at its end, behind a blank line."""
    lines, end = physical_lines.split(text), physical_lines.newline(text)
    bodies = ["", *block] if lines and lines[-1].strip() else list(block)
    for body in bodies:
        lines = physical_lines.insert(lines, len(lines), body, end)
    return "".join(lines)


def _without_lines(text: str, gone: set[int]) -> str:
    lines = physical_lines.split(text)
    return "".join(line for number, line in enumerate(lines, 1) if number not in gone)


def _logical_lines(text: str) -> Iterator[tuple[int, int, list[str]]]:
    """Yield (first line, last line, words); the lines behind a backslash are text, comments or not."""
    begin, whole, is_open = 0, "", False
    number = 0
    for number, physical in enumerate(text.split("\n"), 1):
        if "\0" in physical:
            raise ParseError("a NUL byte in a text file", line=number)
        if not is_open and (not physical.strip() or physical.lstrip().startswith("#")):
            continue
        begin = begin if is_open else number
        is_open = physical.endswith("\\")
        whole += physical[:-1] if is_open else physical
        if not is_open:
            if whole.split():
                yield begin, number, whole.split()
            whole = ""
    if whole.split():
        yield begin, number, whole.split()
