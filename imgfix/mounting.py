"""Mounting the guest: the one Linux installation, and what its fstab puts where."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import replace

from imgfix import tree
from imgfix.appliance import Appliance
from imgfix.disk.partition import PartitionTable
from imgfix.errors import GuestError, ImageError, ParseError
from imgfix.facts import devices
from imgfix.facts.model import Array, Filesystem, Storage
from imgfix.guest import Guest
from imgfix.keys import Key
from imgfix.textedit import fstab
from imgfix.volumes import luks, raid
from imgfix.volumes.fsck import CHECKERS
from imgfix.volumes.mount import Mount
from imgfix.volumes.root import Root, find_root, why_closed
from imgfix.volumes.swap import hibernated_files

FSTAB = "/etc/fstab"
_MDADM = ("/etc/mdadm.conf", "/etc/mdadm/mdadm.conf")

#: Mount points that belong to the operating system; one that is missing makes the disk incomplete.
_SYSTEM = frozenset(
    {"/boot", "/boot/efi", "/usr", "/usr/local", "/var", "/var/log", "/var/lib", "/opt", "/srv", "/home"}
)

#: Folders that are there for an EFI system partition, and for nothing else.
_ESP_FOLDERS = ("/boot/efi", "/efi")

#: Swap files by the names that installers give them, besides those in fstab.
_SWAP_FILES = ("/swapfile", "/swap.img", "/swap/swapfile")


def mount_guest(
    appliance: Appliance, guest: Guest, table: PartitionTable, keys: Sequence[Key] = ()
) -> tuple[tuple[Mount, ...], Storage]:
    """Find the one Linux on the disk and mount it read-only; return the mounts, parents first, and the storage.

    Raises ImageError for no Linux or several, GuestError for an fstab that cannot be followed, UsageError for keys
    that open nothing.
    """
    opener = luks.Opener(appliance, table, keys)
    storage = opener.open_all()
    root = find_root(appliance, guest, storage)
    root.mount.read_only(appliance)
    guest.forget()
    if names := luks.wanted_names(guest, storage):
        appliance.call("umount_all")
        root = _moved(root, opener.rename(names))
        storage = opener.scan()
        root.mount.read_only(appliance)
        guest.forget()
    storage = replace(storage, sealed=root.sealed, arrays=_named(guest, storage.arrays))
    return _Mounter(appliance, guest, storage, set(root.replayed)).mount(root.mount)


def _moved(root: Root, names: Mapping[str, str]) -> Root:
    device = root.mount.device
    return replace(
        root,
        mount=replace(root.mount, device=names.get(device, device)),
        replayed=frozenset(names.get(replayed, replayed) for replayed in root.replayed),
    )


def _named(guest: Guest, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    for path in _MDADM:
        if arrays and tree.is_file(guest, path):
            arrays = raid.named(arrays, tree.read_text(guest, path))
    return arrays


class _Mounter:
    """Mounts what the root's fstab names, below the root."""

    def __init__(self, appliance: Appliance, guest: Guest, storage: Storage, replayed: set[str]) -> None:
        self._appliance = appliance
        self._guest = guest
        self._storage = storage
        self._replayed = replayed
        self._absent: list[str] = []

    def mount(self, root: Mount) -> tuple[tuple[Mount, ...], Storage]:
        entries = _entries(self._guest)
        wanted = {m.mountpoint: m for m in map(self._wanted, entries) if m is not None}
        mounts = [root]
        for wish in sorted(wanted.values(), key=lambda m: m.mountpoint.count("/")):
            if done := self._mount(wish):
                mounts.append(done)
        unlisted = [done for wish in self._unlisted_esp(mounts) if (done := self._mount(wish))]
        mounts += unlisted
        swap_files = dict.fromkeys([*(e.spec for e in entries if e.vfstype == "swap"), *_SWAP_FILES])
        in_files = [spec for spec in swap_files if spec.startswith("/") and not spec.startswith("/dev/")]
        asleep = hibernated_files(self._appliance, self._guest, in_files)
        return tuple(mounts), replace(
            self._storage,
            filesystems=self._placed(mounts),
            absent=tuple(self._absent),
            unlisted=tuple(m.mountpoint for m in unlisted),
            hibernated=(*self._storage.hibernated, *asleep),
            replayed=tuple(sorted(self._replayed)),
        )

    def _wanted(self, entry: fstab.Entry) -> Mount | None:
        """Return the mount that an entry asks for; None for what is not a file system on this disk."""
        mountpoint = posixpath.normpath(entry.file)
        if not mountpoint.startswith("/") or mountpoint == "/" or entry.vfstype == "swap":
            return None
        if {"bind", "rbind"} & set(entry.options):
            return None
        required = not {"noauto", "nofail"} & set(entry.options)
        filesystem = devices.find(entry.spec, self._storage)
        if filesystem is not None and filesystem.fstype in CHECKERS:
            subvolume = tuple(o for o in entry.options if o.startswith(("subvol=", "subvolid=")))
            return Mount(filesystem.device, mountpoint, subvolume, required)
        if filesystem is not None or _is_device(entry.spec):
            if required and mountpoint in _SYSTEM:
                raise self._incomplete(entry, mountpoint, filesystem)
            if "noauto" not in entry.options:  # a CD-ROM drive, say: nobody misses it at boot
                self._absent.append(mountpoint)
        return None

    def _mount(self, wish: Mount) -> Mount | None:
        # Links are the guest's: the kernel would follow them in the appliance.
        mount = replace(wish, mountpoint=tree.resolve(self._guest, wish.mountpoint))
        if not tree.is_dir(self._guest, mount.mountpoint):
            if mount.required:
                raise GuestError(
                    f"/etc/fstab: {mount.device} has no mount point {wish.mountpoint} in the guest",
                    hint="make the folder in the guest, or take the line out of its fstab",
                )
            self._absent.append(wish.mountpoint)
            return None
        try:
            if mount.read_only(self._appliance):
                self._replayed.add(mount.device)
        except ImageError:
            if mount.required:
                raise
            self._absent.append(wish.mountpoint)
            return None
        self._guest.forget()
        return mount

    def _unlisted_esp(self, mounts: Sequence[Mount]) -> list[Mount]:
        """Return where to mount an EFI system partition that fstab leaves out: an empty folder made for it.

        systemd mounts it there, too: https://www.freedesktop.org/software/systemd/man/latest/systemd-gpt-auto-generator.html
        """
        number = self._storage.esp
        esp = next(
            (f for f in self._storage.filesystems if number is not None and f.partition == number), None
        )
        if esp is None or esp.fstype != "vfat" or any(mount.device == esp.device for mount in mounts):
            return []
        taken = {mount.mountpoint for mount in mounts}
        folders = (
            f
            for f in _ESP_FOLDERS
            if f not in taken and tree.is_dir(self._guest, f) and not tree.names(self._guest, f)
        )
        return [Mount(esp.device, folder, required=False) for folder in folders][:1]

    def _placed(self, mounts: Sequence[Mount]) -> tuple[Filesystem, ...]:
        places = {m.device: m.mountpoint for m in reversed(mounts)}  # the first one, of several subvolumes
        return tuple(
            replace(f, mountpoint=places[f.device], free=self._guest.free_bytes(places[f.device]))
            if f.device in places
            else f
            for f in self._storage.filesystems
        )

    def _incomplete(self, entry: fstab.Entry, mountpoint: str, filesystem: Filesystem | None) -> GuestError:
        where = f"{FSTAB}:{entry.line}: {entry.spec} for {mountpoint}"
        if filesystem is not None:
            return GuestError(
                f"{where} is {filesystem.fstype}, which imgfix can neither mount nor check",
                hint=f"it takes {', '.join(sorted(CHECKERS))}; move the data to one of them",
            )
        shut = luks.closed(self._storage)
        return GuestError(
            f"{where} is not on this disk" + (", or on an encrypted volume of it" if shut else ""),
            hint=why_closed(shut)
            if shut
            else "the guest's system spans several disks; imgfix needs all of it on the OS disk",
        )


def _entries(guest: Guest) -> list[fstab.Entry]:
    if not tree.is_file(guest, FSTAB):
        return []
    try:
        lines = fstab.parse(tree.read_text(guest, FSTAB))
    except ParseError as error:
        raise ParseError(
            f"{FSTAB}:{error.line}: {error.message}; it says where the guest's file systems go",
            line=error.line,
            hint="mend the line in the guest; imgfix does not guess",
        ) from error
    return [line.entry for line in lines if line.entry is not None]


def _is_device(spec: str) -> bool:
    return spec.startswith(("/dev/", "UUID=", "LABEL=", "PARTUUID=", "PARTLABEL="))
