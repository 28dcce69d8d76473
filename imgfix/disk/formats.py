"""What kind of file a disk image is, told by its bytes. Pure.

The name of a file never decides, and no tool is asked to guess: a guest could write another format's magic
into its first sector and so have the host open what that format points at (as in
https://nvd.nist.gov/vuln/detail/CVE-2013-1922).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from imgfix.disk import vhd
from imgfix.errors import ImageError

#: Bytes of the head that `identify` wants: past ISO 9660's first descriptor at 32 KiB.
HEAD = 40 * 1024


class Format(Enum):
    """Every kind of file that imgfix can name; the value is the name for people."""

    RAW = "raw disk image"
    FIXED_VHD = "fixed VHD"
    DYNAMIC_VHD = "dynamic VHD"
    DIFFERENCING_VHD = "differencing VHD"
    VHDX = "VHDX image"
    QCOW2 = "qcow2 image"
    VMDK = "VMDK image"
    VDI = "VirtualBox VDI image"
    OVA = "OVA or other tar archive"
    OVF = "OVF description, or another XML file"
    LUKS = "disk encrypted as a whole (LUKS)"
    QED = "QED image"
    PARALLELS = "Parallels image"
    SEVEN_ZIP = "7z archive"
    GZIP = "gzip-compressed file"
    XZ = "xz-compressed file"
    ZSTD = "zstd-compressed file"
    BZIP2 = "bzip2-compressed file"
    ZIP = "zip archive"
    ISO = "ISO 9660 image"


@dataclass(frozen=True, slots=True)
class Signature:
    """`magic` at byte `offset` of the file means `format`."""

    format: Format
    offset: int
    magic: bytes


SIGNATURES = (
    # https://www.qemu.org/docs/master/interop/qcow2.html
    Signature(Format.QCOW2, 0, b"QFI\xfb"),
    # https://github.com/libyal/libvmdk/blob/main/documentation/VMWare%20Virtual%20Disk%20Format%20(VMDK).asciidoc
    Signature(Format.VMDK, 0, b"KDMV"),
    Signature(Format.VMDK, 0, b"COWD"),
    Signature(Format.VMDK, 0, b"# Disk DescriptorFile"),
    # https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-vhdx
    Signature(Format.VHDX, 0, b"vhdxfile"),
    # https://gitlab.com/qemu-project/qemu/-/blob/master/block/vdi.c (VDI_SIGNATURE)
    Signature(Format.VDI, 64, b"\x7f\x10\xda\xbe"),
    Signature(Format.GZIP, 0, b"\x1f\x8b\x08"),
    Signature(Format.XZ, 0, b"\xfd7zXZ\0"),
    Signature(Format.ZSTD, 0, b"\x28\xb5\x2f\xfd"),
    *(Signature(Format.BZIP2, 0, b"BZh%d1AY&SY" % level) for level in range(1, 10)),
    Signature(Format.ZIP, 0, b"PK\x03\x04"),
    Signature(Format.SEVEN_ZIP, 0, b"7z\xbc\xaf\x27\x1c"),
    Signature(Format.OVA, 257, b"ustar"),
    Signature(Format.OVF, 0, b"<?xml"),
    Signature(Format.OVF, 0, b"\xef\xbb\xbf<?xml"),
    # https://gitlab.com/cryptsetup/LUKS2-docs
    Signature(Format.LUKS, 0, b"LUKS\xba\xbe"),
    # https://gitlab.com/qemu-project/qemu/-/blob/master/block/qed.h, and parallels.c beside it
    Signature(Format.QED, 0, b"QED\0"),
    Signature(Format.PARALLELS, 0, b"WithoutFreeSpace"),
    Signature(Format.PARALLELS, 0, b"WithouFreSpacExt"),
    Signature(Format.ISO, 0x8001, b"CD001"),
)

#: The names that users give formats by. "vhd" is fixed or dynamic: its footer says which.
NAMES = {
    "raw": Format.RAW,
    "vhd": Format.FIXED_VHD,
    "vhdx": Format.VHDX,
    "qcow2": Format.QCOW2,
    "vmdk": Format.VMDK,
    "vdi": Format.VDI,
    "ova": Format.OVA,
}

_VHD_FORMATS = {
    vhd.DiskType.FIXED: Format.FIXED_VHD,
    vhd.DiskType.DYNAMIC: Format.DYNAMIC_VHD,
    vhd.DiskType.DIFFERENCING: Format.DIFFERENCING_VHD,
}


@dataclass(frozen=True, slots=True)
class Identity:
    """The format, and the footer where it is a VHD."""

    format: Format
    footer: vhd.Footer | None = None


def identify(head: bytes, tail: bytes, file_size: int) -> Identity:
    """Return what a file is, from its first HEAD bytes, its last 512 and its size in bytes.

    Raises ImageError for a VHD with a damaged or missing footer, and for a file that bears the mark of a format and the
    partition table of a raw disk: a guest may write the former into its first sector. What bears no mark is a raw disk.
    """
    if tail.startswith(vhd.COOKIE):
        footer = vhd.parse_footer(tail, file_size)
        return Identity(_VHD_FORMATS[footer.disk_type], footer)
    _refuse_broken_vhd(head, tail)
    for row in SIGNATURES:
        if head.startswith(row.magic, row.offset):
            # Installation media are made to be both, and neither is an installed disk.
            if row.format is not Format.ISO and _has_partition_table(head, file_size):
                raise _imitation(row.format)
            return Identity(row.format)
    return Identity(Format.RAW)


def identify_as(name: str, tail: bytes, file_size: int) -> Identity:
    """Return what a file is where the user has said so by one of NAMES; its parser will find out if it is not."""
    if name != "vhd":
        return Identity(NAMES[name])
    footer = vhd.parse_footer(tail, file_size)
    return Identity(_VHD_FORMATS[footer.disk_type], footer)


def _imitation(found: Format) -> ImageError:
    names = [name for name, known in NAMES.items() if known is found]
    other = f"; for a {found.value} that happens to look so: --format {names[0]}" if names else ""
    return ImageError(
        f"it begins as a {found.value} does, and has the partition table of a raw disk: one of the two is an "
        "imitation, as a guest can write what it likes into its first sector",
        hint=f"for a raw disk: --format raw{other}",
    )


def _has_partition_table(head: bytes, file_size: int) -> bool:
    """Whether the first sectors hold a table that can be true: a GPT's header, or an MBR's partition in the file."""
    if head[510:512] != b"\x55\xaa":
        return False
    if head[512:520] == b"EFI PART":
        return True
    rows = (head[at : at + 16] for at in range(446, 510, 16))
    return any(
        row[0] in (0, 0x80) and row[4] and 0 < int.from_bytes(row[8:12], "little") * 512 < file_size
        for row in rows
    )


def _refuse_broken_vhd(head: bytes, tail: bytes) -> None:
    # Virtual PC before 2004 wrote 511 bytes (VHD specification 1.0, "Hard Disk Footer Format").
    if tail[1:].startswith(vhd.COOKIE):
        raise ImageError(
            "a VHD with the 511-byte footer of Virtual PC before 2004",
            hint="convert it with a tool of its time, or cut the last 511 bytes off a copy to get a raw disk",
        )
    # A dynamic VHD keeps a copy of its footer at the begin.
    if head.startswith(vhd.COOKIE):
        raise ImageError(
            "a dynamic VHD without the footer at its end: the file is truncated",
            hint="copy or export it again",
        )
