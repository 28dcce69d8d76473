"""The kernel command line, in every place where it can live (R6, R14)."""

from __future__ import annotations

from collections.abc import Iterator

from imgfix.change import Advice, Decision
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.steps import cloud_init, command_line, swap
from imgfix.steps.network import step as network
from imgfix.tree import Tree


def unwanted(profile: Profile, facts: Facts) -> tuple[str, ...]:
    """Return the arguments that other steps want gone: of removed swap, old NICs, and what disables cloud-init."""
    return (
        *swap.unwanted_args(profile, facts),
        *cloud_init.unwanted_args(profile),
        *network.unwanted_args(profile),
    )


class KernelArgs:
    """Edits the sources of the command line; `grub` regenerates what is made from them."""

    name = "kernel_args"
    requirements = ("R6", "R14")

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield an edit or a Noop for each file that holds a command line."""
        want = command_line.wanted(profile, facts, unwanted(profile, facts))
        found = list(command_line.edits(tree, want))
        yield from found
        if not found:
            yield Advice("no file with a kernel command line was found; how does this guest boot?")
