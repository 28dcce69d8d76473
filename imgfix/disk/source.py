"""Opening a source disk: which format it is, what size, which partition table. Never writes."""

from __future__ import annotations

import errno
import os
import re
import shlex
import stat
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from imgfix.disk.fault import FAILING
from imgfix.disk.formats import HEAD, Format, Identity, identify, identify_as
from imgfix.disk.images import IMAGES, Image, Node, Opened, open_image
from imgfix.disk.interrupted import refuse_interrupted
from imgfix.disk.layout import File
from imgfix.disk.partition import PartitionTable, read_partitions
from imgfix.disk.sector import SECTOR, ReadAt
from imgfix.disk.size import MIB, describe
from imgfix.disk.vhd import FOOTER_SIZE, Footer
from imgfix.errors import HostError, ImageError, UsageError

ACCEPTED = frozenset((Format.RAW, Format.FIXED_VHD)) | IMAGES

#: What to do with the formats that are not accepted; IN and OUT stand for the quoted file names.
_REMEDIES = {
    Format.DIFFERENCING_VHD: "merge it with its parent first, in Hyper-V: Merge-VHD -Path IN",
    Format.OVF: "name the disk that it describes, a file beside it",
    Format.LUKS: "decrypt it first, with its passphrase: cryptsetup open IN disk, then copy /dev/mapper/disk",
    Format.QED: "qemu-img convert -f qed -O raw IN OUT",
    Format.PARALLELS: "qemu-img convert -f parallels -O raw IN OUT",
    Format.SEVEN_ZIP: "7z x IN, then use the disk image inside",
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
    """A disk that imgfix takes; `size` is bytes of guest data, a VHD's footer not counted.

    `image` is how a disk that is neither raw nor a fixed VHD is read, `parts` the files besides `path` that it is
    in, `notes` what the user should know.
    """

    path: Path
    format: Format
    size: int
    footer: Footer | None
    table: PartitionTable
    stamp: Stamp
    image: Image | None = None
    parts: tuple[tuple[Path, Stamp], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def taken_for(self) -> str:
        """What imgfix took the file for, in a sentence."""
        held = f", {describe(self.image.allocated)} of it in the file" if self.image else ""
        return f"{self.path.name}: taken for {_article(self.format.value)}: a disk of {describe(self.size)}{held}"


def open_source(path: Path, as_format: str | None = None, *, blank: bool = False) -> Source:
    """Find out what the file at `path` is; it is opened read-only and closed again.

    `as_format` is one of formats.NAMES where the user knows better than the bytes; `blank` lets a disk without
    anything on it pass. Raises UsageError for a path that is no regular file, HostError for one that cannot be read,
    ImageError for a format that is not accepted (with the command that converts it), one that depends on other files,
    a damaged or truncated disk and a blank one.
    """
    refuse_interrupted(path)
    with ExitStack() as held:
        fd = _opened(path, held)
        try:
            return _examine(path, fd, as_format, held, blank=blank)
        except ImageError as error:
            hint = error.hint and _fill(error.hint, path)
            raise ImageError(f"{path}: {error.message}", hint=hint) from error
        except OSError as error:
            hint = FAILING if error.errno == errno.EIO else None
            raise HostError(f"{path}: cannot be read: {error.strerror}", hint=hint) from error


def changed(path: Path, before: Stamp, now: Stamp) -> ImageError:
    """Return the refusal of a file of the source that somebody changed."""
    if before.size != now.size:
        how = f"{before.size} bytes before, {now.size} now"
    elif (before.device, before.inode) != (now.device, now.inode):
        how = "another file has its name now"
    else:
        how = "somebody wrote to it"
    return ImageError(
        f"{path}: changed while it was in use: {how}",
        hint="shut down the virtual machine that uses it, or work on a snapshot's copy",
    )


def require_unchanged(source: Source) -> None:
    """Raise ImageError if a file that the source is in is not what it was when it was opened."""
    for path, stamp in ((source.path, source.stamp), *source.parts):
        try:
            now = Stamp.of(path.stat())
        except OSError as error:
            raise ImageError(f"{path}: vanished while it was in use: {error.strerror}") from error
        if now != stamp:
            raise changed(path, stamp, now)


def _article(noun: str) -> str:
    return f"an {noun}" if noun.startswith("OVA") else f"a {noun}"


def announce(source: Source, say: Callable[[str], None]) -> None:
    """Tell what the file was taken for, and what is to be known of it."""
    say(source.taken_for)
    for note in source.notes:
        say(f"{source.path.name}: {note}")


def _opened(path: Path, held: ExitStack) -> int:
    fd = open_regular(path)
    held.callback(os.close, fd)
    return fd


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


def _examine(path: Path, fd: int, as_format: str | None, held: ExitStack, *, blank: bool) -> Source:
    status = os.fstat(fd)
    identity = _identify(fd, status.st_size, as_format)
    if identity.format not in ACCEPTED:
        raise ImageError(
            f"this is a {identity.format.value}; imgfix takes disk images: raw, VHD, VHDX, qcow2, VMDK, VDI, OVA",
            hint=_REMEDIES[identity.format],
        )
    if as_format is None:
        _refuse_contradiction(path, identity)
    parts: list[tuple[Path, Stamp]] = []
    opened = _open_image(path, fd, identity, _beside(path, parts, held), chosen=as_format is not None)
    table = read_partitions(opened.read_at, opened.size)
    if table.scheme is None and not blank:
        _refuse_blank(opened.read_at, opened.size)
    footer = opened.footer or identity.footer
    return Source(
        path,
        identity.format,
        opened.size,
        footer,
        table,
        Stamp.of(status),
        _measured(opened.image, status, parts),
        tuple(parts),
        opened.notes,
    )


def _measured(image: Image | None, status: os.stat_result, parts: list[tuple[Path, Stamp]]) -> Image | None:
    """The tables of an image say what it may hold, holes in its files what it does not."""
    if image is None or image.packed:
        return image
    held = sum(one.st_blocks * 512 for one in (status, *(path.stat() for path, _ in parts)))
    return replace(image, allocated=min(image.allocated, held))


def _identify(fd: int, file_size: int, as_format: str | None) -> Identity:
    if file_size == 0:
        raise ImageError("the file is empty (0 bytes)", hint="copy or export the disk again")
    head, tail = os.pread(fd, HEAD, 0), os.pread(fd, FOOTER_SIZE, max(0, file_size - FOOTER_SIZE))
    chosen = as_format is not None and identify_as(as_format, tail, file_size)
    identity = chosen or identify(head, tail, file_size)
    # The descriptor of a VMDK may be that small.
    if file_size < SECTOR and identity.format is not Format.VMDK:
        raise ImageError(f"the file has {file_size} bytes, not even one {SECTOR}-byte sector")
    return identity


def _open_image(
    path: Path, fd: int, identity: Identity, beside: Callable[[str], File], *, chosen: bool
) -> Opened:
    file_size = os.fstat(fd).st_size
    if identity.format not in IMAGES:
        size = file_size - (FOOTER_SIZE if identity.footer else 0)
        return Opened(size, reader(fd, size))
    try:
        node = Node.of_file(path.resolve())
        return open_image(identity.format, File(reader(fd, file_size), file_size), node, beside)
    except ImageError as error:
        if chosen or error.hint:
            raise
        raise ImageError(
            f"{error.message}; by its first bytes it is a {identity.format.value}",
            hint="if it is a raw disk that only begins so: --format raw",
        ) from error


def _beside(path: Path, parts: list[tuple[Path, Stamp]], held: ExitStack) -> Callable[[str], File]:
    """Return what opens the files of a VMDK: regular ones in the folder of the file itself, links seen through."""
    folder = path.resolve().parent

    def open_extent(name: str) -> File:
        extent = folder / name
        if extent.is_symlink() and extent.resolve().parent != folder:
            raise ImageError(
                f"its extent {name!r} is a link that leads out of {folder}, and imgfix opens nothing there",
                hint="if you trust it, put the file itself there",
            )
        if not extent.exists():
            raise ImageError(
                f"its extent {name!r} is not in {folder}", hint="copy all files of the disk into one folder"
            )
        fd = _opened(extent, held)
        status = os.fstat(fd)
        parts.append((extent, Stamp.of(status)))
        return File(reader(fd, status.st_size), status.st_size)

    return open_extent


def _refuse_contradiction(path: Path, identity: Identity) -> None:
    """A fixed VHD that lost its end looks like a raw disk: a name that says VHD then makes it suspicious."""
    if identity.format is Format.RAW and path.suffix.lower() == ".vhd":
        raise ImageError(
            "the name says VHD, but there is no VHD footer at the end of the file: truncated, or a raw disk",
            hint="copy or export it again; if it is a raw disk: --format raw",
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
    names = {"IN": _quote(path), "OUT": _quote(_converted(path))}
    return re.sub(r"\b(IN|OUT)\b", lambda match: names[match[0]], remedy)


def _converted(path: Path) -> Path:
    """A name to convert into that is never the file itself: disk.qcow2 -> disk.raw, d.raw.gz -> d.raw."""
    stem = path.with_suffix("")
    new = stem if stem.suffix in (".raw", ".img") else path.with_suffix(".raw")
    return path.with_name(f"{path.name}.raw") if new == path else new


def _quote(path: Path) -> str:
    return shlex.quote(str(path))
