"""Opening a source disk: which format it is, what size, which partition table. Never writes."""

from __future__ import annotations

import os
import re
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path

from imgfix.disk.formats import HEAD, Format, Identity, identify
from imgfix.disk.journal import refuse_interrupted
from imgfix.disk.partition import PartitionTable, read_partitions
from imgfix.disk.sector import SECTOR, ReadAt
from imgfix.disk.size import MIB, describe
from imgfix.disk.vhd import FOOTER_SIZE, Footer
from imgfix.errors import HostError, ImageError, UsageError

ACCEPTED = frozenset((Format.RAW, Format.FIXED_VHD))

#: What to do with the formats that are not accepted; IN and OUT stand for the quoted file names.
_REMEDIES = {
    # Without force_size_calc qemu takes some creators' sizes from the geometry, and cuts the disk short
    # (https://gitlab.com/qemu-project/qemu/-/blob/master/block/vpc.c, vpc_open).
    Format.DYNAMIC_VHD: "qemu-img convert -O raw --image-opts "
    "driver=vpc,force_size_calc=current_size,file.driver=file,file.filename=IN OUT",
    Format.DIFFERENCING_VHD: "merge it with its parent first, in Hyper-V: Merge-VHD -Path IN",
    Format.VHDX: "qemu-img convert -f vhdx -O raw IN OUT",
    Format.QCOW2: "qemu-img convert -f qcow2 -O raw IN OUT",
    Format.VMDK: "qemu-img convert -f vmdk -O raw IN OUT",
    Format.VDI: "qemu-img convert -f vdi -O raw IN OUT",
    Format.OVA: "tar -xf IN, then for the disk inside: qemu-img convert -f vmdk -O raw DISK.vmdk OUT",
    Format.GZIP: "gzip -dc IN > OUT",
    Format.XZ: "xz -dc IN > OUT",
    Format.ZSTD: "zstd -dc IN > OUT",
    Format.BZIP2: "bzip2 -dc IN > OUT",
    Format.ZIP: "unzip IN, then use the disk image inside",
    Format.ISO: "an installation or live medium is not an installed disk: install it in a virtual machine, "
    "then export that machine's disk",
}

_KINDS = (
    (stat.S_ISDIR, "a folder", "name the disk image inside it"),
    (stat.S_ISBLK, "a block device", "copy it into a file first: dd if=IN of=disk.raw bs=4M conv=sparse"),
    (stat.S_ISCHR, "a character device", None),
    (stat.S_ISFIFO, "a pipe", "imgfix reads a disk more than once: save it to a file first"),
    (stat.S_ISSOCK, "a socket", None),
)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells that a file is still the same one, unchanged; size in bytes."""

    device: int
    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """Take the stamp from a stat."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Source:
    """A disk that imgfix takes; `size` is bytes of guest data, a VHD's footer not counted."""

    path: Path
    format: Format
    size: int
    footer: Footer | None
    table: PartitionTable
    stamp: Stamp


def open_source(path: Path) -> Source:
    """Find out what the file at `path` is; it is opened read-only and closed again.

    Raises UsageError for a path that is no regular file, HostError for one that cannot be read, ImageError
    for a format that is not accepted (with the command that converts it), a damaged or truncated disk and a
    blank one.
    """
    refuse_interrupted(path)
    fd = open_regular(path)
    try:
        return _examine(path, fd)
    except ImageError as error:
        raise ImageError(f"{path}: {error.message}", hint=error.hint) from error
    except OSError as error:
        raise HostError(f"{path}: cannot be read: {error.strerror}") from error
    finally:
        os.close(fd)


def open_regular(path: Path) -> int:
    """Return a read-only descriptor of the regular file at `path`; raises UsageError or HostError."""
    try:
        # A device or pipe must not even be opened: opening can block, rewind or reset it.
        _refuse_irregular(path, path.stat().st_mode)
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"{path}: there is no such file") from error
    except PermissionError as error:
        raise HostError(
            f"{path}: no permission to read it", hint="run as its owner, or let its owner make it readable"
        ) from error
    except ValueError as error:
        raise UsageError(f"{str(path)!r}: is no file name: {error}") from error
    except OSError as error:
        raise HostError(f"{path}: cannot be opened: {error.strerror}") from error


def reader(fd: int, size: int) -> ReadAt:
    """Return a ReadAt over the first `size` bytes of the open file `fd`."""

    def read_at(offset: int, length: int) -> bytes:
        # Offsets come from the disk: beyond its size they may not even fit the system call.
        if offset >= size:
            return b""
        return os.pread(fd, min(length, size - offset), offset)

    return read_at


def _refuse_irregular(path: Path, mode: int) -> None:
    for is_kind, name, remedy in _KINDS:
        if is_kind(mode):
            hint = remedy and _fill(remedy, path)
            raise UsageError(f"{path}: this is {name}, not a disk image file", hint=hint)


def _examine(path: Path, fd: int) -> Source:
    status = os.fstat(fd)
    identity = _identify(fd, status.st_size)
    if identity.format not in ACCEPTED:
        raise ImageError(
            f"this is a {identity.format.value}; imgfix takes raw disk images and fixed VHDs",
            hint=_fill(_REMEDIES[identity.format], path),
        )
    _refuse_contradiction(path, identity)
    size = status.st_size - (FOOTER_SIZE if identity.footer else 0)
    read_at = reader(fd, size)
    table = read_partitions(read_at, size)
    if table.scheme is None:
        _refuse_blank(read_at, size)
    return Source(path, identity.format, size, identity.footer, table, Stamp.of(status))


def _identify(fd: int, file_size: int) -> Identity:
    if file_size == 0:
        raise ImageError("the file is empty (0 bytes)", hint="copy or export the disk again")
    if file_size < SECTOR:
        raise ImageError(f"the file has {file_size} bytes, not even one {SECTOR}-byte sector")
    return identify(os.pread(fd, HEAD, 0), os.pread(fd, FOOTER_SIZE, file_size - FOOTER_SIZE), file_size)


def _refuse_contradiction(path: Path, identity: Identity) -> None:
    """A fixed VHD that lost its end looks like a raw disk: a name that says VHD then makes it suspicious."""
    if identity.format is Format.RAW and path.suffix.lower() == ".vhd":
        raise ImageError(
            "the name says VHD, but there is no VHD footer at the end of the file: truncated, or a raw disk",
            hint="copy or export it again; if it is a raw disk, rename it to .raw",
        )


def _refuse_blank(read_at: ReadAt, size: int) -> None:
    """Zeros up to 1 MiB: any table stands before that, and so does any file system's first block."""
    start = read_at(0, MIB)
    if not any(start):
        raise ImageError(
            f"no partition table found, the disk is blank: only zeros in the first {describe(len(start))} "
            f"of {describe(size)}",
            hint="check that this is the disk with the system on it, and that its copy was completed",
        )


def _fill(remedy: str, path: Path) -> str:
    # qemu's option syntax doubles the commas of a value.
    name = _quote(path).replace(",", ",,") if "--image-opts" in remedy else _quote(path)
    names = {"IN": name, "OUT": _quote(_converted(path))}
    return re.sub(r"\b(IN|OUT)\b", lambda match: names[match[0]], remedy)


def _converted(path: Path) -> Path:
    """A name to convert into that is never the file itself: disk.qcow2 -> disk.raw, d.raw.gz -> d.raw."""
    stem = path.with_suffix("")
    new = stem if stem.suffix in (".raw", ".img") else path.with_suffix(".raw")
    return path.with_name(f"{path.name}.raw") if new == path else new


def _quote(path: Path) -> str:
    return shlex.quote(str(path))
