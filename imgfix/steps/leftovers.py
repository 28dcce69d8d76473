"""Files that name the old machine's hardware."""

from __future__ import annotations

from collections.abc import Iterator

from imgfix.change import Decision
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.steps.edit import removed
from imgfix.tree import Tree


class Leftovers:
    """Removes the profile's files, in both modes."""

    name = "leftovers"
    requirements = ("R9",)

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield removals, or one Noop."""
        yield from removed(tree, profile.leftovers.remove, reason="names the old machine's hardware")
