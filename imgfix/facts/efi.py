"""efi: what an EFI program is, from its bytes: shim, GRUB, something else; and where GRUB looks for its configuration.

Layout: https://learn.microsoft.com/en-us/windows/win32/debug/pe-format (PE32+). GRUB's modules and settings stand
in section `mods` (include/grub/kernel.h in https://git.savannah.gnu.org/cgit/grub.git): a header, then objects of
type, size and content.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

#: IMAGE_FILE_MACHINE_* -> what the UEFI specification 2.10 (3.5.1.1) puts behind BOOT in the file's name.
MACHINES = {0x8664: "x64", 0xAA64: "aa64", 0x14C: "ia32", 0x1C0: "arm", 0x5064: "riscv64"}

#: IMAGE_SUBSYSTEM_EFI_APPLICATION
_EFI_APPLICATION = 10

_COFF = struct.Struct("<HHIIIHH")
_SECTION = struct.Struct("<8sIIII")
_MODULES = struct.Struct("<IIQQ")
_OBJECT = struct.Struct("<II")
_MODULE_MAGIC = 0x676D696D
_MEMDISK, _CONFIG, _PREFIX = 1, 2, 3

#: The data directory with the signature, and the fields before the directories in PE32 and PE32+.
_CERTIFICATES, _DIRECTORIES = 4, {0x10B: 96, 0x20B: 112}

#: Names of files in shim, which are UTF-16: \grubx64.efi, \EFI\BOOT\fbx64.efi.
_NAMES = re.compile(rb"\\\0((?:[A-Za-z0-9_.-]\0)+)")


class Kind(Enum):
    """What an EFI program is, as far as it matters for what it starts."""

    SHIM = "shim"
    GRUB = "GRUB 2"
    GRUB_LEGACY = "GRUB 0.97"
    OTHER = "an EFI program"


@dataclass(frozen=True, slots=True)
class EfiProgram:
    """One EFI program.

    `machine` is x64, aa64 ... or "". Of shim: `stage` is the loader that it starts, `fallback` the program that it
    starts instead where it lies beside it in EFI/BOOT; names of files. Of GRUB 2: `prefix` is the folder of its
    configuration, `searches` tells that it finds that folder by itself (a device or a UUID is built in), `beside`
    that it looks into the folder that it was started from, too.
    """

    kind: Kind
    machine: str
    signed: bool = False
    stage: str = ""
    fallback: str = ""
    prefix: str = ""
    searches: bool = False
    beside: bool = False


def read_program(data: bytes) -> EfiProgram | None:
    """Return what the file `data` is, or None if it is no EFI program or is cut short."""
    try:
        return _read(data)
    except struct.error:
        return None


def _read(data: bytes) -> EfiProgram | None:
    (at,) = struct.unpack_from("<I", data, 0x3C)
    if data[:2] != b"MZ" or data[at : at + 4] != b"PE\0\0":
        return None
    number, sections, _, _, _, optional_size, _ = _COFF.unpack_from(data, at + 4)
    optional = at + 4 + _COFF.size
    (magic,) = struct.unpack_from("<H", data, optional)
    (subsystem,) = struct.unpack_from("<H", data, optional + 68)
    if magic not in _DIRECTORIES or subsystem != _EFI_APPLICATION:
        return None
    machine = MACHINES.get(number, "")
    place, length = struct.unpack_from("<II", data, optional + _DIRECTORIES[magic] + _CERTIFICATES * 8)
    signed = length > 0 and place + length <= len(data)
    found = dict(_sections(data, optional + optional_size, sections))
    if b"UEFI SHIM" in data:
        return _shim(data, machine, signed)
    if "mods" in found:
        return _grub(data, machine, signed, *found["mods"])
    if b"GRUB" in data and b"grub.conf" in data:
        return EfiProgram(Kind.GRUB_LEGACY, machine, signed)
    return EfiProgram(Kind.OTHER, machine, signed)


def _sections(data: bytes, at: int, count: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield name, and offset and size in the file, of each section; raises struct.error if one is cut short."""
    for index in range(count):
        name, _, _, size, offset = _SECTION.unpack_from(data, at + index * 40)
        if offset + size > len(data):
            raise struct.error("truncated")
        yield name.rstrip(b"\0").decode("latin-1"), (offset, size)


def _shim(data: bytes, machine: str, signed: bool) -> EfiProgram:
    """SUSE's shim has names of its own (shim-arch-independent-names.patch), and so had all before shim 12."""
    names = [name.decode("utf-16-le") for name in _NAMES.findall(data)]
    stage = next((n for n in names if re.fullmatch(r"(?i)grub.*\.efi", n)), f"grub{machine}.efi")
    fallback = next((n for n in names if re.fullmatch(r"(?i)(fb\w+|fallback)\.efi", n)), f"fb{machine}.efi")
    return EfiProgram(Kind.SHIM, machine, signed, stage=stage, fallback=fallback)


def _grub(data: bytes, machine: str, signed: bool, offset: int, size: int) -> EfiProgram:
    objects = dict(_objects(data, offset, size))
    prefix = objects.get(_PREFIX, b"").split(b"\0")[0].decode("utf-8", "replace")
    config = objects.get(_CONFIG, b"")
    return EfiProgram(
        Kind.GRUB,
        machine,
        signed,
        prefix=prefix,
        # grub-install writes `search.fs_uuid` or a device such as (,gpt2) into what it builds.
        searches=prefix.startswith("(") or re.search(rb"\bsearch\b", config) is not None,
        # Red Hat's normal.mod tries $fw_path first; Debian's memdisk and many an embedded grub.cfg try $cmdpath;
        # an empty prefix, as SUSE builds it, becomes the loader's own folder.
        beside=not prefix or b"fw_path" in data or b"cmdpath" in config + objects.get(_MEMDISK, b""),
    )


def _objects(data: bytes, offset: int, size: int) -> Iterator[tuple[int, bytes]]:
    magic, _, start, length = _MODULES.unpack_from(data, offset)
    if magic != _MODULE_MAGIC:
        return
    at, end = offset + start, offset + min(length, size)
    while at + _OBJECT.size <= end:
        kind, each = _OBJECT.unpack_from(data, at)
        if each < _OBJECT.size:
            return
        if kind in (_MEMDISK, _CONFIG, _PREFIX):
            yield kind, data[at + _OBJECT.size : at + each]
        at += each
