"""A session: one appliance with the guest's file systems found and mounted, read-only until a change."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from imgfix import appliance as appliances
from imgfix import tree
from imgfix.appliance import Appliance, GuestfsError
from imgfix.change import RemoveSwapDevice
from imgfix.disk.partition import PartitionTable
from imgfix.errors import ApplyError, GuestError, ImageError, ImgfixError, ParseError, VerifyError
from imgfix.facts import devices
from imgfix.facts.distro import is_linux_root, read_distro
from imgfix.facts.initramfs import read_initramfs
from imgfix.facts.model import Facts, Filesystem, InitramfsFacts, LogicalVolume, Storage
from imgfix.facts.reader import read_facts
from imgfix.guest import Guest
from imgfix.interrupt import Interrupts
from imgfix.textedit import fstab

#: The disk's name in the appliance: it is the only one there besides the appliance's own.
_DISK = "/dev/sda"
_MBR_PRIMARIES = 4

#: File systems that can be a Linux root.
_ROOT_TYPES = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs"})

#: Mount points that belong to the operating system; one that is missing makes the disk incomplete.
_SYSTEM = frozenset(
    {"/", "/boot", "/boot/efi", "/usr", "/var", "/opt", "/srv", "/home", "/var/log", "/var/lib"}
)

#: How each file system is checked without changing it; exit status 0 is clean.
_CHECKS: dict[str, tuple[str, ...]] = {
    "ext2": ("e2fsck", "-f", "-n"),
    "ext3": ("e2fsck", "-f", "-n"),
    "ext4": ("e2fsck", "-f", "-n"),
    "xfs": ("xfs_repair", "-n"),
    "vfat": ("fsck.vfat", "-n"),
    "btrfs": ("btrfs", "check", "--readonly"),
}


@dataclass(frozen=True, slots=True)
class _Mount:
    device: str
    mountpoint: str


class Session:
    """One launch: `guest` and `storage`, mounted read-only. A context manager."""

    def __init__(self, appliance: Appliance, table: PartitionTable) -> None:
        self._appliance = appliance
        self.guest = Guest(appliance)
        self._writable = False
        found = _scan(appliance, table)
        self._mounts, self.storage = _mount_all(appliance, self.guest, found)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._appliance.__exit__(kind, error, trace)

    def make_writable(self) -> None:
        """Mount everything again for writing; until then not a byte of the disk has changed."""
        if self._writable:
            return
        with _needed("the guest's file systems cannot be mounted for writing", ApplyError):
            self._appliance.call("umount_all")
            for mount in self._mounts:
                self._appliance.call("mount", mount.device, mount.mountpoint)
        self._writable = True
        self.guest.forget()

    def facts(self, drivers: Sequence[str] = ()) -> Facts:
        """Read the guest's facts; `drivers` are asked for besides the usual ones."""
        self.guest.forget()
        return read_facts(self.guest, self.storage, self._read_image, drivers)

    def _read_image(self, path: str) -> InitramfsFacts:
        entry = self.guest.lstat(path)
        with self.guest.opened(path) as stream:
            return read_initramfs(stream, path, entry.size if entry else 0)

    def delete_swap(self, swaps: Sequence[RemoveSwapDevice]) -> None:
        """Erase swap areas and delete their partitions or volumes, with everything unmounted."""
        if not swaps:
            return
        with _needed("swap cannot be removed from the disk", ApplyError):
            self._appliance.call("umount_all")
            for swap in swaps:
                self._erase(swap.device)
                # udev looks at a device that was just written and holds it open for a moment.
                self._appliance.call("debug", "sh", ["udevadm settle --timeout=60"])
                if swap.volume:
                    self._appliance.call("lvremove", swap.device)
                elif swap.partition is not None and self._may_delete(swap.partition):
                    self._appliance.call("part_del", _DISK, swap.partition)
            gone = {swap.device for swap in swaps}
            for mount in self._mounts:
                self._appliance.call("mount", mount.device, mount.mountpoint)
        left = tuple(f for f in self.storage.filesystems if f.device not in gone)
        volumes = tuple(v for v in self.storage.logical_volumes if v.device not in gone)
        self.storage = replace(self.storage, filesystems=left, logical_volumes=volumes)
        self.guest.forget()

    def _erase(self, device: str) -> None:
        """Make `device` read as zeros: by discarding, which also frees its blocks in the image, else by writing."""
        try:
            self._appliance.call("blkdiscard", device)
            if self._appliance.call("blkdiscardzeroes", device):
                return
        except GuestfsError:
            pass  # the host's file system cannot punch holes
        self._appliance.call("zero_device", device)

    def _may_delete(self, partition: int) -> bool:
        """Deleting a logical partition renumbers those behind it; the erased space then just stays unused."""
        return self.storage.scheme == "gpt" or partition <= _MBR_PRIMARIES

    def cut_network(self) -> None:
        """Unplug the appliance's network for the rest of the launch."""
        self._appliance.cut_network()

    def close_clean(self) -> None:
        """Unmount, check every file system of the guest, and shut down.

        Raises VerifyError for a file system that is not clean, with the checker's own output.
        """
        with _needed("the guest's file systems cannot be unmounted", ApplyError):
            self._appliance.call("umount_all")
            for mount in self._mounts if self._writable else ():
                self._check(mount.device)
            self._appliance.finish()

    def _check(self, device: str) -> None:
        fstype = next(f.fstype for f in self.storage.filesystems if f.device == device)
        argv = (*_CHECKS[fstype], device)
        # `debug sh` runs a command of the appliance, not of the guest; exit status and both streams are kept.
        script = f"{' '.join(argv)} 2>&1; echo status=$?"
        output, _, status = str(self._appliance.call("debug", "sh", [script])).strip().rpartition("status=")
        if status != "0":
            raise VerifyError(
                f"{device} ({fstype}) is not clean after the changes; {' '.join(argv)} says:\n{output.strip()}",
                hint="check the source's file systems with fsck first; nothing was published",
            )


@contextmanager
def opened(
    disk: Path,
    table: PartitionTable,
    *,
    writable: bool,
    network: bool = False,
    interrupts: Interrupts,
    say: Callable[[str], None],
) -> Iterator[Session]:
    """Launch an appliance on `disk` and mount its guest. Raises HostError, ImageError, GuestError."""
    with (
        appliances.launch(
            disk, writable=writable, network=network, interrupts=interrupts, say=say
        ) as appliance,
        _needed("the disk cannot be inspected"),
        Session(appliance, table) as session,
    ):
        yield session


@contextmanager
def _needed(what: str, kind: type[ImgfixError] = ImageError) -> Iterator[None]:
    """Turn a failed call of libguestfs into an error of `kind` that begins with `what`."""
    try:
        yield
    except GuestfsError as error:
        raise kind(f"{what}: {error}") from error


def _scan(appliance: Appliance, table: PartitionTable) -> Storage:
    """Read file systems, swap areas and logical volumes, as the appliance sees them."""
    volumes = tuple(
        LogicalVolume(vg, lv, device)
        for device in appliance.call("lvs")
        for vg, _, lv in (device.removeprefix("/dev/").partition("/"),)
    )
    parts = {f"{_DISK}{p.number}": p for p in table.partitions}
    found = []
    for device, fstype in sorted(appliance.call("list_filesystems").items()):
        if device.startswith("btrfsvol:"):
            continue
        part = parts.get(device)
        found.append(
            Filesystem(
                device=device,
                fstype=fstype,
                uuid=_tag(appliance, "vfs_uuid", device),
                label=_tag(appliance, "vfs_label", device),
                size=int(appliance.call("blockdev_getsize64", device)),
                partition=part.number if part else None,
                partuuid=part.uuid if part else "",
                partlabel=part.name if part else "",
            )
        )
    return Storage(
        scheme=table.scheme,
        filesystems=tuple(found),
        logical_volumes=volumes,
        has_boot_code=table.has_boot_code,
        has_esp=any(p.is_esp for p in table.partitions),
    )


def _tag(appliance: Appliance, verb: str, device: str) -> str:
    try:
        return str(appliance.call(verb, device))
    except GuestfsError:
        return ""  # no tag, or a signature that blkid does not know


def _mount_all(appliance: Appliance, guest: Guest, storage: Storage) -> tuple[tuple[_Mount, ...], Storage]:
    root = _find_root(appliance, guest, storage)
    appliance.call("mount_ro", root.device, "/")
    guest.forget()
    wanted, absent = _from_fstab(guest, storage)
    mounts = [_Mount(root.device, "/"), *(m for m in wanted if m.mountpoint != "/")]
    for mount in mounts[1:]:
        if not tree.is_dir(guest, mount.mountpoint):
            raise GuestError(f"/etc/fstab: {mount.device} has no mount point {mount.mountpoint} in the guest")
        appliance.call("mount_ro", mount.device, mount.mountpoint)
        guest.forget()
    return tuple(mounts), replace(storage, filesystems=_placed(guest, storage, mounts), absent=absent)


def _placed(guest: Guest, storage: Storage, mounts: list[_Mount]) -> tuple[Filesystem, ...]:
    places = {m.device: m.mountpoint for m in mounts}
    return tuple(
        replace(f, mountpoint=places[f.device], free=guest.free_bytes(places[f.device]))
        if f.device in places
        else f
        for f in storage.filesystems
    )


def _find_root(appliance: Appliance, guest: Guest, storage: Storage) -> Filesystem:
    """Look into each file system for a Linux installation; there must be exactly one."""
    roots: list[tuple[Filesystem, str]] = []
    for filesystem in storage.filesystems:
        if filesystem.fstype not in _ROOT_TYPES:
            continue
        appliance.call("mount_ro", filesystem.device, "/")
        guest.forget()
        if is_linux_root(guest):
            roots.append((filesystem, _pretty_name(guest)))
        appliance.call("umount_all")
    if len(roots) > 1:
        names = "; ".join(f"{name} on {filesystem.device}" for filesystem, name in roots)
        raise ImageError(
            f"{len(roots)} Linux installations on one disk: {names}",
            hint="imgfix prepares disks with one installation: export each of them to a disk of its own",
        )
    if not roots:
        seen = ", ".join(f"{f.device} {f.fstype}" for f in storage.filesystems) or "none"
        raise ImageError(
            f"no Linux installation found; file systems on the disk: {seen}", hint=_why_none(storage)
        )
    return roots[0][0]


def _pretty_name(guest: Guest) -> str:
    try:
        return read_distro(guest).pretty_name
    except GuestError:
        return "an unknown Linux"


def _why_none(storage: Storage) -> str:
    kinds = {f.fstype for f in storage.filesystems}
    if "crypto_LUKS" in kinds:
        return "the disk is encrypted (LUKS); decrypt it first"
    if "ntfs" in kinds:
        return "this looks like a Windows disk; imgfix prepares Linux"
    return (
        "is this the system disk? imgfix looks for a root file system (ext, xfs, btrfs) with /etc/os-release"
    )


def _from_fstab(guest: Guest, storage: Storage) -> tuple[list[_Mount], tuple[str, ...]]:
    """Return what to mount, parents first, and the mount points whose file system is not on this disk."""
    wanted: list[_Mount] = []
    absent: list[str] = []
    for entry in _entries(guest):
        mountpoint = posixpath.normpath(entry.file)
        if not mountpoint.startswith("/") or entry.vfstype == "swap" or "bind" in entry.options:
            continue
        filesystem = devices.find(entry.spec, storage)
        if filesystem is not None and filesystem.fstype in _CHECKS:
            wanted.append(_Mount(filesystem.device, mountpoint))
        elif filesystem is None and _is_device(entry.spec):
            _refuse_incomplete(entry, mountpoint)
            absent.append(mountpoint)
    return sorted(wanted, key=lambda m: m.mountpoint.count("/") if m.mountpoint != "/" else 0), tuple(absent)


def _entries(guest: Guest) -> list[fstab.Entry]:
    if not tree.is_file(guest, "/etc/fstab"):
        return []
    try:
        lines = fstab.parse(tree.read_text(guest, "/etc/fstab"))
    except ParseError as error:
        raise ParseError(
            f"/etc/fstab:{error.line}: {error.message}; it says where the guest's file systems go",
            line=error.line,
            hint="mend the line in the guest; imgfix does not guess",
        ) from error
    return [line.entry for line in lines if line.entry is not None]


def _is_device(spec: str) -> bool:
    return spec.startswith(("/dev/", "UUID=", "LABEL=", "PARTUUID=", "PARTLABEL="))


def _refuse_incomplete(entry: fstab.Entry, mountpoint: str) -> None:
    if mountpoint in _SYSTEM - {"/"} and "noauto" not in entry.options and "nofail" not in entry.options:
        raise GuestError(
            f"/etc/fstab:{entry.line}: {entry.spec} for {mountpoint} is not on this disk",
            hint="the guest's system spans several disks; imgfix needs all of it on the OS disk",
        )
