"""What the volumes under the guest mean on Azure: encryption, RAID, unclean shutdowns, what imgfix did not look at."""

from __future__ import annotations

from collections.abc import Iterator

from imgfix.change import Advice, Decision, Noop
from imgfix.facts.model import Array, Facts, Storage
from imgfix.profile import Profile
from imgfix.tree import Tree

#: Types that say of themselves that no guest mounts them: containers, and partitions without a file system.
_UNMOUNTED = frozenset({"crypto_LUKS", "swap", "swsuspend", "unknown", "squashfs", "iso9660"})


class StorageAdvice:
    """Changes nothing; says what to expect of the disk."""

    name = "storage"
    requirements = ()

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield advice, or a Noop."""
        found = remarks(facts.storage)
        yield from (Advice(text) for text in found)
        if not found:
            yield Noop("one system, all of its file systems known and cleanly unmounted")


def remarks(storage: Storage) -> tuple[str, ...]:
    """Return what there is to say of the disk's volumes, a sentence or two each."""
    return tuple(
        text
        for find in (_asleep, _sealed, _replayed, _encrypted, _arrays, _inactive, _unseen, _absent)
        for text in find(storage)
    )


def _asleep(storage: Storage) -> Iterator[str]:
    if storage.hibernated:
        yield (
            f"the machine was hibernated, its memory is in {', '.join(storage.hibernated)}: imgfix changes nothing; "
            "start it and shut it down first"
        )


def _sealed(storage: Storage) -> Iterator[str]:
    if storage.sealed:
        yield "the root is a read-only btrfs subvolume: imgfix changes nothing"


def _replayed(storage: Storage) -> Iterator[str]:
    if storage.replayed:
        yield (
            f"{', '.join(storage.replayed)}: not cleanly unmounted, the journal was replayed on the copy; what the "
            "running machine had not yet written is not in the image. Shut a machine down before its export"
        )


def _encrypted(storage: Storage) -> Iterator[str]:
    for volume in storage.encrypted:
        if volume.mapped:
            yield (
                f"{volume.device} is encrypted (LUKS): each boot waits for its passphrase on the serial console, and "
                "what a TPM or a key server of the old site unlocked does not unlock on Azure"
            )
        else:
            yield f"{volume.device} is encrypted (LUKS) and no key was given: neither changed nor checked"


def _arrays(storage: Storage) -> Iterator[str]:
    for array in storage.arrays:
        name = array.names[0] if array.names else array.device or array.uuid
        if not array.device:
            yield (
                f"MD RAID {name} ({array.level}) does not start: {array.present} of {array.wanted} disks are here; "
                "neither changed nor checked"
            )
        elif array.present < array.wanted:
            yield (
                f"MD RAID {name} ({array.level}) is degraded: {array.present} of {array.wanted} disks are here. It "
                f"works; a boot may wait for the others. Azure's disks are redundant: {_shrink(array, name)}"
            )


def _shrink(array: Array, name: str) -> str:
    if array.level == "raid1":
        return f"mdadm --grow {name} --force --raid-devices={array.present} ends the waiting"
    return "move the system to a plain disk"


def _inactive(storage: Storage) -> Iterator[str]:
    if storage.inactive:
        yield f"logical volumes that cannot be activated, neither changed nor checked: {', '.join(storage.inactive)}"


def _unseen(storage: Storage) -> Iterator[str]:
    unseen = [
        f"{f.device} ({f.fstype})"
        for f in storage.filesystems
        if f.mountpoint is None and f.fstype not in _UNMOUNTED
    ]
    if unseen:
        yield f"not in /etc/fstab, so neither changed nor checked: {', '.join(unseen)}"


def _absent(storage: Storage) -> Iterator[str]:
    if storage.absent:
        yield (
            f"not on this disk, or not mountable, and so not looked at: {', '.join(storage.absent)}; attach what "
            "belongs there to the new machine, or take the lines out of /etc/fstab"
        )
