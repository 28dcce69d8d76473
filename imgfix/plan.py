"""Planning: each step's decisions, gathered over a draft of the guest. Pure; nothing here can act."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from imgfix.change import (
    Advice,
    AppendFile,
    Copy,
    Decision,
    Edit,
    InstallPackages,
    Link,
    Noop,
    Rebuild,
    RebuildKind,
    Remove,
    RemovePackages,
    RemoveSwapDevice,
    WriteFile,
)
from imgfix.draft import Draft
from imgfix.errors import GuestError
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.steps.protocol import Follower, Step
from imgfix.tree import Tree

_ORDER = tuple(RebuildKind)


@dataclass(frozen=True, slots=True)
class Item:
    """One decision and the step that made it."""

    step: str
    decision: Decision


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is to be done to one guest, in the order of the steps."""

    items: tuple[Item, ...]

    @property
    def changes(self) -> tuple[Item, ...]:
        """The items that would change something."""
        return tuple(i for i in self.items if not isinstance(i.decision, Noop | Advice))

    @property
    def advice(self) -> tuple[Item, ...]:
        """What the user should know."""
        return tuple(i for i in self.items if isinstance(i.decision, Advice))

    @property
    def installs(self) -> tuple[InstallPackages, ...]:
        """Packages to install, a stage of its own before everything else."""
        return tuple(i.decision for i in self.items if isinstance(i.decision, InstallPackages))

    @property
    def removals(self) -> tuple[RemovePackages, ...]:
        """Packages to remove, before any is installed."""
        return tuple(i.decision for i in self.items if isinstance(i.decision, RemovePackages))

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The edits that count, in their order; what a later one overtakes is left out.

        A removal stays before what is put in its place: writing alone would go through a link, or keep the old
        file's mode. What was copied elsewhere in between stays too.
        """
        final: list[Edit] = []
        for item in self.items:
            edit = item.decision
            if isinstance(edit, WriteFile | Remove | Link | Copy | AppendFile):
                copied = {e.source for e in final if isinstance(e, Copy)}
                final = [e for e in final if e.path in copied or not _overtakes(edit, e)]
                final.append(edit)
        return tuple(final)

    @property
    def swap_devices(self) -> tuple[RemoveSwapDevice, ...]:
        """Swap partitions and volumes to delete."""
        return tuple(i.decision for i in self.items if isinstance(i.decision, RemoveSwapDevice))

    @property
    def rebuilds(self) -> tuple[Rebuild, ...]:
        """Each rebuild once, in the order in which they depend on each other."""
        first: dict[tuple[RebuildKind, str], Rebuild] = {}
        for item in self.items:
            if isinstance(item.decision, Rebuild):
                first.setdefault((item.decision.kind, item.decision.target), item.decision)
        return tuple(sorted(first.values(), key=lambda r: _ORDER.index(r.kind)))


def _overtakes(edit: Edit, earlier: Edit) -> bool:
    """Tell whether `edit` makes the `earlier` one pointless."""
    if isinstance(edit, Remove):
        return (earlier.path + "/").startswith(edit.path + "/")
    if isinstance(edit, AppendFile):
        return False
    return earlier.path == edit.path and not isinstance(earlier, Remove)


def build_plan(
    steps: Iterable[Step | Follower],
    profile: Profile,
    facts: Facts,
    guest: Tree,
    *,
    before: Sequence[Item] = (),
) -> Plan:
    """Ask each step for its decisions; raises GuestError for what cannot be parsed or is not supported.

    `before` are items of a plan that was carried out already, to which a follower looks back.
    """
    draft = Draft(guest)
    items: list[Item] = []
    for step in steps:
        try:
            if isinstance(step, Follower):
                changes = [i.decision for i in (*before, *items) if not isinstance(i.decision, Noop | Advice)]
                decisions = step.follow(profile, facts, draft, changes)
            else:
                decisions = step.plan(profile, facts, draft)
            items += [Item(step.name, draft.stage(d)) for d in decisions]
        except GuestError as error:
            error.message = f"{step.name}: {error.message}"
            error.args = (error.message,)
            raise
    return Plan(tuple(items))
