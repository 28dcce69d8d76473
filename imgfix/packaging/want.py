"""want: what a profile asks for: `waagent`, `walinuxagent | waagent`, `waagent (>= 2.2.53.1)`.

Alternatives are for the names that one thing has in several releases; the first is what is installed where the
guest's repositories have it.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass

_CHOICE = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9+._-]*)"
    r"(\s*\(\s*>=\s*(?P<inside>[^\s()|]+)\s*\)|\s*>=\s*(?P<bare>[^\s()|]+))?"
)


@dataclass(frozen=True, slots=True)
class Choice:
    """A package by its own name, and the oldest version that will do; empty for any."""

    name: str
    minimum: str = ""

    def __str__(self) -> str:
        return f"{self.name} (>= {self.minimum})" if self.minimum else self.name


@dataclass(frozen=True, slots=True)
class Want:
    """One thing that the guest shall have, under any of these names; never empty."""

    choices: tuple[Choice, ...]

    def __str__(self) -> str:
        return " | ".join(map(str, self.choices))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the packages, the preferred one first."""
        return tuple(choice.name for choice in self.choices)


def parse(text: str) -> Want:
    """Return what `text` asks for; raises ValueError on what is no name of a package."""
    found = [_CHOICE.fullmatch(word.strip()) for word in text.split("|")]
    choices = [Choice(f["name"], f["inside"] or f["bare"] or "") for f in found if f is not None]
    if len(choices) < len(found):
        raise ValueError(f"{text!r} is no package: NAME, NAME (>= VERSION) or alternatives: NAME | NAME")
    return Want(tuple(choices))


def overrides(new: str, old: str) -> bool:
    """Tell whether an entry of a later profile is for the same thing as an earlier one: they share a name."""
    return bool({*parse(new).names} & {*parse(old).names})


def matches(text: str, patterns: Iterable[str]) -> bool:
    """Tell whether one of the names in `text` matches one of the patterns."""
    return any(fnmatch.fnmatchcase(name, pattern) for name in parse(text).names for pattern in patterns)
