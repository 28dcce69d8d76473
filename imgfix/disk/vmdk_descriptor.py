"""The descriptor of a VMDK: a text that says which files the disk consists of. Pure.

https://github.com/libyal/libvmdk/blob/main/documentation/VMWare%20Virtual%20Disk%20Format%20(VMDK).asciidoc

Every line must be understood: QEMU reads the same text with scanf, and a line that it takes for an extent and imgfix
does not would have it open a file that imgfix has not looked at (block/vmdk.c, vmdk_parse_extents).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from imgfix.errors import ImageError

#: QEMU reads no more of it (block/vmdk.c, vmdk_read_desc: "limit size to 1 MiB").
MAX_SIZE = 1 << 20

#: What the word after `createType` may be, and what is said of the others.
_TYPES = frozenset(
    (
        "monolithicSparse",
        "monolithicFlat",
        "twoGbMaxExtentSparse",
        "twoGbMaxExtentFlat",
        "streamOptimized",
        "vmfs",
    )
)
_NOT_TAKEN = {
    **dict.fromkeys(
        ("fullDevice", "partitionedDevice", "vmfsRaw", "vmfsRDM", "vmfsRDMP"), "it stands for a real device"
    ),
    **dict.fromkeys(
        ("vmfsSparse", "seSparse", "vmfsThin"), "it is ESXi's own kind of snapshot or sparse disk"
    ),
}
_KINDS = frozenset(("FLAT", "SPARSE", "VMFS"))
_EXTENT = re.compile(r'(\S+)[ \t]+(\d{1,18})[ \t]+(\S+)(?:[ \t]+"([^"]*)"(?:[ \t]+(\d{1,18}))?)?(?:[ \t].*)?')
_SETTING = re.compile(r'([A-Za-z_][\w.:-]*)[ \t]*=[ \t]*"?([^"]*)"?[ \t]*')
#: Names with a colon are protocols to QEMU, and a slash leads out of the folder.
_NAME = re.compile(r"[^/\\:\x00-\x1f\x7f]+")
_EXPORT = "export the machine again, as an OVA, or clone the disk: vmkfstools -i IN OUT"


@dataclass(frozen=True, slots=True)
class Extent:
    """A file of the disk: `sectors` of it from `offset` (in sectors) on, or for SPARSE what its own header says."""

    sectors: int
    kind: Literal["FLAT", "SPARSE"]
    name: str
    offset: int


def is_descriptor(data: bytes) -> bool:
    """Whether a file begins as a descriptor does."""
    return data[:21].lower() == b"# disk descriptorfile"


def parse_descriptor(data: bytes) -> tuple[Extent, ...]:
    """Return the extents of a disk, in order.

    Raises ImageError for a snapshot, an encrypted disk, a kind of disk that is not taken, a name that leads out of the
    folder, and a line that cannot be understood.
    """
    if len(data) > MAX_SIZE:
        raise ImageError(f"its descriptor has {len(data)} bytes, {MAX_SIZE} at most are read")
    text = data.partition(b"\0")[0].decode("utf-8", "surrogateescape")
    settings: dict[str, str] = {}
    extents = []
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.removesuffix("\r").strip(" \t")
        if not line or line.startswith("#"):
            _refuse_control(line, number)
        elif setting := _SETTING.fullmatch(line):
            _refuse_control(line, number)
            settings.setdefault(setting[1].lower(), setting[2])
        elif extent := _EXTENT.fullmatch(line):
            _refuse_control(line, number)
            extents.append(_extent(extent, number))
        else:
            raise ImageError(f"line {number} of its descriptor cannot be understood: {line[:80]!r}")
    _refuse_settings(settings)
    return tuple(extents)


def _refuse_control(line: str, number: int) -> None:
    if any(ord(character) < 32 and character != "\t" for character in line):
        raise ImageError(f"line {number} of its descriptor has control characters in it: {line[:80]!r}")


def _refuse_settings(settings: dict[str, str]) -> None:
    kind = settings.get("createtype", "")
    if any(key.startswith("encryption.") for key in settings):
        raise ImageError(
            "it is encrypted as a whole",
            hint="remove the machine's encryption in VMware, then export it again",
        )
    if settings.get("parentcid", "ffffffff").lower() != "ffffffff" or "parentfilenamehint" in settings:
        parent = settings.get("parentfilenamehint", "its parent")
        raise ImageError(
            f"it is a snapshot or a linked clone: what it does not hold is in {parent!r}, which imgfix does not open",
            hint="consolidate or delete the snapshots in VMware, or export the machine as an OVA",
        )
    if kind in _NOT_TAKEN:
        raise ImageError(f"a VMDK of the type {kind} is not taken: {_NOT_TAKEN[kind]}", hint=_EXPORT)
    if kind not in _TYPES:
        raise ImageError(f"a VMDK of the type {kind!r} is not known", hint=_EXPORT)


def _extent(match: re.Match[str], number: int) -> Extent:
    access, sectors, kind, name, offset = match.groups()
    if access != "RW" or kind not in _KINDS or name is None:
        raise ImageError(
            f"line {number} of its descriptor is an extent that is not taken: {match[0][:80]!r}; taken are "
            "RW ones that are FLAT, SPARSE or VMFS",
            hint=_EXPORT,
        )
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise ImageError(
            f"its extent {name!r} lies outside the folder of the descriptor, and imgfix opens nothing there",
            hint="if you trust it, put the file beside the descriptor and name it there without a folder",
        )
    if kind == "SPARSE":
        return Extent(int(sectors), "SPARSE", name, 0)
    return Extent(int(sectors), "FLAT", name, int(offset or 0))
