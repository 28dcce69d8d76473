"""Copying a disk's data between two open files: reflinked where that works, else hole by hole."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imgfix.disk import writeback
from imgfix.disk.fault import FAILING, host_error
from imgfix.errors import HostError, ImageError

#: (bytes done, bytes in all), of data; holes are not counted.
Progress = Callable[[int, int], None]

#: Linux, include/uapi/linux/fs.h: _IOW(0x94, 9, int)
_FICLONE = 0x4004_9409
#: Small enough for progress and for ctrl-C, large enough to cost nothing.
_CHUNK = 16 << 20
_BLOCK = 1 << 20
#: copy_file_range(2): what file systems answer when this pair of files cannot be copied so. EIO is here since
#: it does not tell which of the two is bad; reading and writing does.
_NO_OFFLOAD = frozenset(
    (errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.ETXTBSY, errno.EIO)
)


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes `start` to `end` (not included) of a file that hold data."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A descriptor and the path for messages."""

    fd: int
    path: Path


def reflink(source: OpenFile, target: OpenFile) -> bool:
    """Make `target` share all blocks of `source` (ioctl_ficlone(2)); False where that is not possible."""
    try:
        fcntl.ioctl(target.fd, _FICLONE, source.fd)
    except OSError:
        return False
    return True


def data_extents(fd: int, size: int, start: int = 0) -> Iterator[Extent]:
    """Yield the extents of data from `start` to `size`, in order; one for all if holes cannot be seen."""
    at = start
    while at < size:
        try:
            begin = os.lseek(fd, at, os.SEEK_DATA)
            end = os.lseek(fd, begin, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
            begin, end = at, size
        if begin >= size:
            return
        yield Extent(begin, min(end, size))
        at = end


def read_ahead(source: OpenFile, start: int, end: int) -> None:
    """Let the kernel begin to read bytes `start` to `end`, while others are copied; it reads ahead 128 KiB by itself.

    Does not wait, and tells nothing: who reads them will be told.
    """
    if start < end:
        with suppress(OSError):
            os.posix_fadvise(source.fd, start, end - start, os.POSIX_FADV_WILLNEED)


def copy_data(source: OpenFile, target: OpenFile, extents: tuple[Extent, ...], progress: Progress) -> None:
    """Copy the extents to the same places of `target`; what lies between them is left alone.

    Raises HostError (both numbers when space runs out; file and offset when the source cannot be read) and
    ImageError when the source got shorter.
    """
    total = sum(extent.end - extent.start for extent in extents)
    done = 0
    for extent in extents:
        at = extent.start
        while at < extent.end:
            read_ahead(source, at + _CHUNK, min(at + 2 * _CHUNK, extent.end))
            moved = _copy_some(source, target, at, extent.end, needed=total - done)
            writeback.start(target.fd, at, moved)
            at += moved
            done += moved
            progress(done, total)


def _copy_some(source: OpenFile, target: OpenFile, at: int, end: int, *, needed: int) -> int:
    try:
        moved = os.copy_file_range(source.fd, target.fd, min(end - at, _CHUNK), at, at)
    except OSError as error:
        if error.errno not in _NO_OFFLOAD:
            raise host_error(error, "the work copy", target.path, needed=needed) from error
        moved = 0
    return moved or _read_and_write(source, target, at, end, needed=needed)


def _read_and_write(source: OpenFile, target: OpenFile, at: int, end: int, *, needed: int) -> int:
    try:
        data = os.pread(source.fd, min(end - at, _BLOCK), at)
    except OSError as error:
        raise HostError(
            f"{source.path}: cannot be read at byte {at}: {error.strerror}",
            hint=FAILING,
        ) from error
    if not data:
        raise ImageError(f"{source.path}: ended at byte {at} while it was being copied, {end} expected")
    try:
        return os.pwrite(target.fd, data, at)
    except OSError as error:
        raise host_error(error, "the work copy", target.path, needed=needed) from error
