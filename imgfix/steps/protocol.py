"""What a step is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from imgfix.change import Change, Decision
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.tree import Tree


class Step(Protocol):
    """One capability. `requirements` are the rows of docs/requirements.md that it serves."""

    @property
    def name(self) -> str:
        """The step's name in reports."""

    @property
    def requirements(self) -> tuple[str, ...]:
        """The requirements it serves, such as ("R7",)."""

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield decisions; `tree` is a draft that already shows those yielded before. Never acts."""


@runtime_checkable
class Follower(Protocol):
    """A step whose decisions follow from what the others change. It comes behind them."""

    @property
    def name(self) -> str:
        """The step's name in reports."""

    @property
    def requirements(self) -> tuple[str, ...]:
        """The requirements it serves, such as ("R7",)."""

    def follow(
        self, profile: Profile, facts: Facts, tree: Tree, changes: Sequence[Change]
    ) -> Iterator[Decision]:
        """Yield decisions; `changes` are those of the steps before, in their order. Never acts."""
