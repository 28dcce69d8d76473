"""The root: the one Linux installation on the disk, on whatever kind of volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from imgfix.appliance import Appliance, GuestfsError
from imgfix.errors import GuestError, ImageError
from imgfix.facts.distro import is_linux_root, read_distro
from imgfix.facts.model import Array, Encrypted, Filesystem, Storage
from imgfix.guest import Guest
from imgfix.tree import Tree
from imgfix.volumes import btrfs
from imgfix.volumes.mount import Mount

#: File systems that can be a Linux root.
_TYPES = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs"})


@dataclass(frozen=True, slots=True)
class Root:
    """A root found: `name` is its distribution, `where` its device and subvolume, for messages.

    `replayed` are the devices, of all that were looked into, whose journals were replayed for it.
    """

    mount: Mount
    name: str
    where: str
    sealed: bool = False
    replayed: frozenset[str] = frozenset()


def find_root(appliance: Appliance, guest: Guest, storage: Storage) -> Root:
    """Look into each file system for a Linux installation; raises ImageError unless there is exactly one."""
    found: list[Root] = []
    failures: list[str] = []
    replayed: set[str] = set()
    for filesystem in storage.filesystems:
        if filesystem.fstype not in _TYPES:
            continue
        try:
            found += _roots(appliance, guest, filesystem, replayed)
        except (ImageError, GuestfsError) as error:
            failures.append(str(error))  # a data volume beside a sound root may be anything
        appliance.call("umount_all")
    if len(found) > 1:
        names = "; ".join(f"{root.name} on {root.where}" for root in found)
        raise ImageError(
            f"{len(found)} Linux installations on one disk: {names}",
            hint="imgfix prepares disks with one installation: export each of them to a disk of its own. Of btrfs "
            "subvolumes, it takes the default one: btrfs subvolume set-default",
        )
    if not found:
        seen = ", ".join(f"{f.device} {f.fstype}" for f in storage.filesystems) or "none"
        told = "".join(f"; {failure}" for failure in failures)
        raise ImageError(
            f"no Linux installation found; file systems on the disk: {seen}{told}", hint=_why_none(storage)
        )
    return replace(found[0], replayed=frozenset(replayed))


def _roots(appliance: Appliance, guest: Guest, filesystem: Filesystem, replayed: set[str]) -> list[Root]:
    top = (f"subvolid={btrfs.TOP}",) if filesystem.fstype == "btrfs" else ()
    if Mount(filesystem.device, "/", top).read_only(appliance):
        replayed.add(filesystem.device)
    guest.forget()
    if filesystem.fstype == "btrfs":
        return [
            Root(
                Mount(filesystem.device, "/", volume.options),
                _pretty_name(btrfs.Below(guest, f"/{volume.path}")),
                f"{filesystem.device} subvolume {volume.path or '/'}",
                volume.sealed,
            )
            for volume in btrfs.roots(appliance, guest)
        ]
    if not is_linux_root(guest):
        return []
    return [Root(Mount(filesystem.device, "/"), _pretty_name(guest), filesystem.device)]


def _pretty_name(root: Tree) -> str:
    try:
        return read_distro(root).pretty_name
    except GuestError:
        return "an unknown Linux"


def _why_none(storage: Storage) -> str:
    kinds = {f.fstype for f in storage.filesystems}
    shut = [e for e in storage.encrypted if not e.mapped]
    dead = [a for a in storage.arrays if not a.device]
    if shut:
        return why_closed(shut)
    if dead:
        return why_dead(dead)
    if storage.inactive:
        return (
            f"logical volumes that cannot be activated: {', '.join(storage.inactive)}; does the volume group "
            "span several disks, or is it thinly provisioned? Move the system to plain volumes on one disk"
        )
    if "ntfs" in kinds:
        return "this looks like a Windows disk; imgfix prepares Linux"
    return (
        "is this the system disk? imgfix looks for a root file system (ext, xfs, btrfs) with /etc/os-release"
    )


def why_closed(volumes: Sequence[Encrypted]) -> str:
    """Return what to do about encrypted volumes that are closed."""
    names = ", ".join(f"{v.device} (LUKS {v.uuid})" for v in volumes)
    return f"encrypted: {names}; give its key: --key FILE, or --key - for standard input"


def why_dead(arrays: Sequence[Array]) -> str:
    """Return what to do about arrays that do not start."""
    names = ", ".join(
        f"{a.names[0] if a.names else a.uuid} ({a.level}, {a.present} of {a.wanted} disks are here)"
        for a in arrays
    )
    return (
        f"an MD RAID that does not run with what is on this disk: {names}; Azure has no use for it: move the system "
        "to a plain disk"
    )
