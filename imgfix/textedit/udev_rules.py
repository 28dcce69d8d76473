"""udev rules: the conditions and assignments of each rule, and taking whole rules out.

Grammar: udev(7): one rule a line, `#` begins a comment line, a backslash at the end continues a line, pairs of
`KEY{attribute}OPERATOR"value"` separated by commas or blanks. A rule that does not fit is skipped by udev with a
message, and so it is here: it does nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from imgfix.textedit import physical_lines

_PAIR = re.compile(r'[\s,]*([A-Z_]+)(?:\{([^}]*)\})?\s*(==|!=|=|\+=|-=|:=)\s*[ei]*"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Pair:
    """One condition (`==`, `!=`) or assignment: `key` is ATTR, ENV, NAME ..., `attribute` what braces hold."""

    key: str
    attribute: str
    operator: str
    value: str

    @property
    def is_assignment(self) -> bool:
        """Tell whether it sets something."""
        return self.operator in ("=", ":=")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule on the lines `line` to `last` (1-based)."""

    line: int
    last: int
    pairs: tuple[Pair, ...]

    def value(self, key: str, *, assigned: bool = False) -> str | None:
        """Return what the rule compares `key` with for equality, or assigns to it; None if it does not."""
        wanted = [
            p for p in self.pairs if p.key == key and (p.is_assignment if assigned else p.operator == "==")
        ]
        return wanted[-1].value if wanted else None


def parse(text: str) -> tuple[Rule, ...]:
    """Return the rules of `text`; lines that are none are left out."""
    return tuple(rule for rule in _rules(text) if rule.pairs)


def without(text: str, drop: Callable[[Rule], bool]) -> str:
    """Return `text` without the rules for which `drop` holds."""
    gone = {n for rule in parse(text) if drop(rule) for n in range(rule.line, rule.last + 1)}
    lines = physical_lines.split(text)
    return "".join(line for number, line in enumerate(lines, 1) if number not in gone)


def _rules(text: str) -> Iterator[Rule]:
    begin, whole = 0, ""
    lines = text.split("\n")
    for number, physical in enumerate(lines, 1):
        line = physical.strip()
        if line.startswith("#") or (not line and not whole):
            continue
        begin = begin or number
        if line.endswith("\\") and number < len(lines):
            whole += line[:-1]
            continue
        yield Rule(begin, number, _pairs(whole + line))
        begin, whole = 0, ""


def _pairs(body: str) -> tuple[Pair, ...]:
    found: list[Pair] = []
    at = 0
    while match := _PAIR.match(body, at):
        found.append(Pair(match[1], match[2] or "", match[3], match[4]))
        at = match.end()
    return tuple(found) if not body[at:].strip(" \t,") else ()
