"""Finding the guest on its disk: file systems, the one Linux installation, and what its fstab puts where."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace

from imgfix import tree
from imgfix.appliance import Appliance, GuestfsError
from imgfix.disk.partition import PartitionTable
from imgfix.errors import GuestError, ImageError, ParseError
from imgfix.facts import devices
from imgfix.facts.distro import is_linux_root, read_distro
from imgfix.facts.model import Filesystem, LogicalVolume, Storage, Verdict
from imgfix.guest import Guest
from imgfix.textedit import fstab

#: The disk's name in the appliance: it is the only one there besides the appliance's own.
DISK = "/dev/sda"

#: File systems that imgfix mounts: those that it can also check.
MOUNTED = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "vfat"})

#: File systems that can be a Linux root.
_ROOT_TYPES = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs"})

#: Mount points that belong to the operating system; one that is missing makes the disk incomplete.
_SYSTEM = frozenset(
    {"/", "/boot", "/boot/efi", "/usr", "/var", "/opt", "/srv", "/home", "/var/log", "/var/lib"}
)


#: Folders that are there for an EFI system partition, and for nothing else.
_ESP_FOLDERS = ("/boot/efi", "/efi")


@dataclass(frozen=True, slots=True)
class Mount:
    """`options` choose a btrfs subvolume: the same device may be mounted in several places."""

    device: str
    mountpoint: str
    options: tuple[str, ...] = ()

    def writable(self, appliance: Appliance) -> None:
        """Mount it for reading and writing."""
        appliance.call("blockdev_setrw", self.device)
        appliance.call("mount_options", ",".join(self.options), self.device, self.mountpoint)

    def read_only(self, appliance: Appliance) -> None:
        """Mount it so that not a byte of the device changes; XFS writes its log even on a read-only mount.

        A journal that must be replayed first is replayed: on the work copy, never on the source.
        """
        options = ",".join((*self.options, "ro"))
        appliance.call("blockdev_setro", self.device)
        try:
            appliance.call("mount_options", options, self.device, self.mountpoint)
        except GuestfsError:
            appliance.call("blockdev_setrw", self.device)
            appliance.call("mount_options", options, self.device, self.mountpoint)


def mount_guest(
    appliance: Appliance, guest: Guest, table: PartitionTable
) -> tuple[tuple[Mount, ...], Storage]:
    """Find the one Linux on the disk and mount it read-only; return the mounts, parents first, and the storage.

    Raises ImageError for no Linux or several, GuestError for an fstab that cannot be followed.
    """
    return _mount_all(appliance, guest, _scan(appliance, table))


def _scan(appliance: Appliance, table: PartitionTable) -> Storage:
    """Read file systems, swap areas and logical volumes, as the appliance sees them."""
    volumes = tuple(
        LogicalVolume(vg, lv, device)
        for device in appliance.call("lvs")
        for vg, _, lv in (device.removeprefix("/dev/").partition("/"),)
    )
    parts = {f"{DISK}{p.number}": p for p in table.partitions}
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
        esp=next((p.number for p in table.partitions if p.is_esp), None),
        bios=Verdict(table.bios.possible, (table.bios.how,)),
    )


def _tag(appliance: Appliance, verb: str, device: str) -> str:
    try:
        return str(appliance.call(verb, device))
    except GuestfsError:
        return ""  # no tag, or a signature that blkid does not know


def _mount_all(appliance: Appliance, guest: Guest, storage: Storage) -> tuple[tuple[Mount, ...], Storage]:
    root = _find_root(appliance, guest, storage)
    Mount(root.device, "/").read_only(appliance)
    guest.forget()
    wanted, absent = _from_fstab(guest, storage)
    mounts = [Mount(root.device, "/"), *(m for m in wanted if m.mountpoint != "/")]
    for mount in mounts[1:]:
        if not tree.is_dir(guest, mount.mountpoint):
            raise GuestError(f"/etc/fstab: {mount.device} has no mount point {mount.mountpoint} in the guest")
        mount.read_only(appliance)
        guest.forget()
    unlisted = _unlisted_esp(guest, storage, mounts)
    for mount in unlisted:
        mount.read_only(appliance)
        guest.forget()
    mounts += unlisted
    places = tuple(mount.mountpoint for mount in unlisted)
    placed = _placed(guest, storage, mounts)
    return tuple(mounts), replace(storage, filesystems=placed, absent=absent, unlisted=places)


def _unlisted_esp(guest: Guest, storage: Storage, mounts: list[Mount]) -> list[Mount]:
    """Return where to mount an EFI system partition that fstab leaves out: an empty folder made for it.

    systemd mounts it there, too: https://www.freedesktop.org/software/systemd/man/latest/systemd-gpt-auto-generator.html
    """
    esp = next(
        (f for f in storage.filesystems if storage.esp is not None and f.partition == storage.esp), None
    )
    if esp is None or esp.fstype != "vfat" or any(mount.device == esp.device for mount in mounts):
        return []
    taken = {mount.mountpoint for mount in mounts}
    folders = (
        f for f in _ESP_FOLDERS if f not in taken and tree.is_dir(guest, f) and not tree.names(guest, f)
    )
    return [Mount(esp.device, folder) for folder in folders][:1]


def _placed(guest: Guest, storage: Storage, mounts: list[Mount]) -> tuple[Filesystem, ...]:
    places = {m.device: m.mountpoint for m in reversed(mounts)}  # the first one, of several subvolumes
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
        Mount(filesystem.device, "/").read_only(appliance)
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


def _from_fstab(guest: Guest, storage: Storage) -> tuple[list[Mount], tuple[str, ...]]:
    """Return what to mount, parents first, and the mount points whose file system is not on this disk."""
    wanted: list[Mount] = []
    absent: list[str] = []
    for entry in _entries(guest):
        mountpoint = posixpath.normpath(entry.file)
        if not mountpoint.startswith("/") or entry.vfstype == "swap" or "bind" in entry.options:
            continue
        filesystem = devices.find(entry.spec, storage)
        if filesystem is not None and filesystem.fstype in MOUNTED:
            subvolume = tuple(o for o in entry.options if o.startswith(("subvol=", "subvolid=")))
            wanted.append(Mount(filesystem.device, mountpoint, subvolume))
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
