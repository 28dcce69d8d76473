"""LVM on the OS disk works, and Microsoft advises against it (R5)."""

from __future__ import annotations

from collections.abc import Iterator

from imgfix.change import Advice, Decision, Noop
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.tree import Tree


class Lvm:
    """Tells of volume groups on the OS disk.

    https://learn.microsoft.com/en-us/azure/virtual-machines/linux/create-upload-generic (general notes)
    """

    name = "lvm"
    requirements = ("R5",)

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield one Advice or one Noop."""
        groups = sorted({volume.vg for volume in facts.storage.logical_volumes})
        if not groups:
            yield Noop("no LVM on the disk")
            return
        what = f"volume group {groups[0]}" if len(groups) == 1 else f"volume groups {', '.join(groups)}"
        yield Advice(
            f"LVM on the OS disk ({what}) works, but Microsoft advises against it: all VMs made from this image "
            "share its names and UUIDs, so a disk attached to another of them for repair must be renamed first "
            "(vgimportclone)"
        )
