"""Device names: from what a guest's files call a file system to the file system itself. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

from imgfix.facts.model import Filesystem, LogicalVolume, Storage

#: First disk of each driver that has named Linux disks; the number behind it is the partition.
#: https://docs.kernel.org/admin-guide/devices.html
_FIRST_DISK = re.compile(r"/dev/(?:(?:sd|hd|vd|xvd)a|(?:nvme0n1|mmcblk0|cciss/c0d0)p)(\d+)")

#: The same without a partition: a file system that fills the disk, which the appliance calls _WHOLE.
_FIRST_WHOLE = re.compile(r"/dev/(?:(?:sd|hd|vd|xvd)a|nvme0n1|mmcblk0|cciss/c0d0)")
_WHOLE = "/dev/sda"

#: Any disk partition name, to tell "on another disk" from "not a disk name at all".
_ANY_DISK = re.compile(
    r"/dev/(?:(?:sd|hd|vd|xvd)[a-z]+\d*|(?:nvme\d+n\d+|mmcblk\d+|cciss/c\d+d\d+)(?:p\d+)?"
    # Serial numbers and bus addresses are the controller's too; those of volumes (dm-, lvm-, md-) are not.
    r"|disk/by-path/.+|disk/by-id/(?!dm-|lvm-|md-).+)"
)

_TAGS: dict[str, Callable[[Filesystem], str]] = {
    "UUID": lambda f: f.uuid,
    "LABEL": lambda f: f.label,
    "PARTUUID": lambda f: f.partuuid,
    "PARTLABEL": lambda f: f.partlabel,
}


def find(spec: str, storage: Storage) -> Filesystem | None:
    """Return the file system that `spec` (an fstab's first field, a root= value) names, or None."""
    tag, value = _tag(spec)
    if tag:
        same = str.lower if tag.endswith("UUID") else str
        return next((f for f in storage.filesystems if value and same(_TAGS[tag](f)) == same(value)), None)
    if match := _FIRST_DISK.fullmatch(spec):
        return next((f for f in storage.filesystems if f.partition == int(match[1])), None)
    if _FIRST_WHOLE.fullmatch(spec):
        spec = _WHOLE
    device = next((v.device for v in storage.logical_volumes if spec in volume_names(v)), spec)
    device = next((a.device for a in storage.arrays if a.device and spec in a.names), device)
    return next((f for f in storage.filesystems if f.device == device and f.partition is None), None)


def names_disk(spec: str) -> bool:
    """Tell whether `spec` is a kernel disk name, which changes with the controller: /dev/sda1, /dev/vdb."""
    return _ANY_DISK.fullmatch(spec) is not None


def is_zram(spec: str) -> bool:
    """Tell whether `spec` is a compressed RAM disk, which is swap but takes no disk."""
    return spec.startswith("/dev/zram")


def volume_names(volume: LogicalVolume) -> tuple[str, str]:
    """Return both names of a logical volume; in the mapper's, a dash inside a name is doubled (lvm(8))."""
    mapper = f"{volume.vg.replace('-', '--')}-{volume.lv.replace('-', '--')}"
    return f"/dev/{volume.vg}/{volume.lv}", f"/dev/mapper/{mapper}"


def _tag(spec: str) -> tuple[str, str]:
    if match := re.fullmatch(r"(UUID|LABEL|PARTUUID|PARTLABEL)=(.*)", spec):
        return match[1], match[2].strip("\"'")
    if match := re.fullmatch(r"/dev/disk/by-(uuid|label|partuuid|partlabel)/(.+)", spec):
        return match[1].upper(), match[2]
    return "", ""
