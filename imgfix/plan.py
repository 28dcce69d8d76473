"""Planning: each step's decisions, gathered over a draft of the guest. Pure; nothing here can act."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

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
    RunCommand,
    SetAttributes,
    WriteFile,
)
from imgfix.draft import Draft
from imgfix.errors import GuestError
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.steps.protocol import Follower, Step
from imgfix.tree import Tree, resolve

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
            if isinstance(edit, WriteFile | Remove | Link | Copy | AppendFile | SetAttributes):
                copied = {e.source for e in final if isinstance(e, Copy)}
                gone = [e for e in final if e.path not in copied and _overtakes(edit, e)]
                if gone and isinstance(edit, WriteFile) and not _removed_after(final, gone[0]):
                    # In place, since a mode and owner set in between need the file, and with the mode that it has.
                    final[final.index(gone[0])] = edit = replace(edit, mode=_mode(gone[0], edit.mode))
                    final = [e for e in final if e not in gone or e == edit]
                else:
                    final = [*(e for e in final if e not in gone), edit]
        return tuple(final)

    @property
    def commands(self) -> tuple[RunCommand, ...]:
        """The profile's commands, in its order."""
        return tuple(i.decision for i in self.items if isinstance(i.decision, RunCommand))

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


def on_host(plan: Plan) -> Plan:
    """Return the plan with its initramfs images rebuilt in a sandbox of this host, which the reasons then say."""
    return Plan(tuple(Item(item.step, _on_host(item.decision)) for item in plan.items))


def _on_host(decision: Decision) -> Decision:
    if isinstance(decision, Rebuild) and decision.kind is RebuildKind.INITRAMFS:
        return replace(decision, on_host=True, reason=f"{decision.reason}; method host-chroot")
    return decision


def _removed_after(edits: Sequence[Edit], edit: Edit) -> bool:
    """Tell whether what `edit` makes is removed again by one of the edits behind it."""
    behind = edits[edits.index(edit) + 1 :]
    return any(isinstance(e, Remove) and (edit.path + "/").startswith(e.path + "/") for e in behind)


def _overtakes(edit: Edit, earlier: Edit) -> bool:
    """Tell whether `edit` makes the `earlier` one pointless."""
    if isinstance(edit, Remove):
        return (earlier.path + "/").startswith(edit.path + "/")
    if isinstance(edit, AppendFile):
        return False
    if earlier.path != edit.path:
        return False
    if isinstance(edit, SetAttributes):
        return isinstance(earlier, SetAttributes)
    # A write keeps the mode and owner that a file has, and those that a copy brought along.
    kept = (Remove, Copy, SetAttributes) if isinstance(edit, WriteFile) else (Remove,)
    return not isinstance(earlier, kept)


def _mode(earlier: Edit, mode: int) -> int:
    return earlier.mode if isinstance(earlier, WriteFile) else mode


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
    return survey(steps, profile, facts, guest, before=before, is_patient=False)[0]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A step that could not plan, and why; what it had decided before stays in the plan."""

    step: str
    error: GuestError


def survey(
    steps: Iterable[Step | Follower],
    profile: Profile,
    facts: Facts,
    guest: Tree,
    *,
    before: Sequence[Item] = (),
    is_patient: bool = True,
) -> tuple[Plan, tuple[Refusal, ...]]:
    """Plan as build_plan does, but go on with the next step where one refuses, to tell all at once.

    Raises GuestError only where `is_patient` is false.
    """
    draft = Draft(guest)
    items: list[Item] = []
    refusals: list[Refusal] = []
    for step in steps:
        try:
            for decision in _asked(step, profile, facts, draft, [*before, *items]):
                items.append(Item(step.name, draft.stage(decision)))
        except GuestError as error:
            error.message = f"{step.name}: {error.message}"
            error.args = (error.message,)
            if not is_patient:
                raise
            refusals.append(Refusal(step.name, error))
    try:
        _refuse_conflicts(items, {resolve(draft, path) for path, file in profile.files.items() if file})
    except GuestError as error:
        if not is_patient:
            raise
        refusals.append(Refusal("files", error))
    return Plan(tuple(items)), tuple(refusals)


def _asked(
    step: Step | Follower, profile: Profile, facts: Facts, draft: Draft, before: Sequence[Item]
) -> Iterable[Decision]:
    if isinstance(step, Follower):
        changes = [i.decision for i in before if not isinstance(i.decision, Noop | Advice)]
        return step.follow(profile, facts, draft, changes)
    return step.plan(profile, facts, draft)


def _refuse_conflicts(items: Iterable[Item], reserved: set[str]) -> None:
    """Refuse a plan in which another step edits a file of the profile's: the two would never agree."""
    for item in items:
        edit = item.decision
        if item.step == "files" or not isinstance(edit, WriteFile | Remove | Link | Copy | SetAttributes):
            continue
        for path in sorted(reserved):
            if path == edit.path or (isinstance(edit, Remove) and path.startswith(edit.path + "/")):
                raise GuestError(
                    f"files: {path} is a file of the profile's, and the step {item.step} changes it too: "
                    f"{edit.reason}",
                    hint=f"put what {item.step} wants into the file, or take the file out of `files` and use "
                    "the step's own settings",
                )
