"""Copying an image that is not compressed, by its own tables: what it does not hold is never read.

qemu-img asks a driver which parts of a disk are empty, and VHDX's does not answer: it reads a terabyte of zeros
(https://gitlab.com/qemu-project/qemu/-/blob/master/block/vhdx.c has no bdrv_co_block_status).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from imgfix.disk import writeback
from imgfix.disk.fault import FAILING, free_bytes, host_error, host_errors, no_space
from imgfix.disk.formats import Format
from imgfix.disk.images import Image, Node, open_image
from imgfix.disk.layout import File, Run
from imgfix.disk.source import Source, reader
from imgfix.disk.sparse import Extent, OpenFile, Progress, data_extents, read_ahead
from imgfix.errors import HostError, ImageError

_CHUNK = 1 << 20
#: Bytes after which writing back is started anew: each time may have to wait for the file system's journal.
_PIECE = 32 * _CHUNK
#: Bytes between what is copied and what the kernel is to read meanwhile.
_AHEAD = 8 * _CHUNK
#: Zeros of this length and alignment become a hole, as with qemu-img (-S 4k).
_HOLE = 4096
_ZEROS = bytes(_HOLE)


def runs_of(source: Source, origin: OpenFile) -> Iterator[Run] | None:
    """Return where the guest's bytes are in the one open file, or None where there is more to it than copying.

    Raises ImageError if the image is not what it was when it was opened first.
    """
    if source.image is None or source.image.packed or source.parts or source.format is Format.OVA:
        return None
    size = os.fstat(origin.fd).st_size
    file = File(reader(origin.fd, size), size)
    opened = open_image(source.format, file, Node.of_file(source.path.absolute()), _nothing)
    if opened.size != source.size:
        raise ImageError(
            f"{source.path}: changed while it was in use: a disk of {source.size} bytes before, {opened.size} now"
        )
    return opened.runs() if opened.runs is not None else None


def _nothing(name: str) -> File:
    raise ImageError(f"the file {name!r} was not named before")


def copy_runs(
    runs: Iterable[Run],
    image: Image,
    origin: OpenFile,
    target: OpenFile,
    size: int,
    progress: Progress,
    *,
    headroom: int,
) -> None:
    """Write the runs into the empty file `target` of `size` bytes; what is zero stays a hole.

    `progress` gets (bytes done, bytes in all) of what the image holds; `headroom` is the free space in bytes asked for
    beyond that. Raises HostError and ImageError as sparse.copy_data does.
    """
    needed = image.allocated + headroom
    if free_bytes(target.path.parent) < needed:
        raise no_space("the work copy", target.path.parent, needed=needed)
    # Its size first: XFS allocates ahead of writes that extend a file, into what should stay holes.
    with host_errors("the work copy", target.path):
        os.ftruncate(target.fd, size)
    done, buffer = 0, bytearray(_CHUNK)  # one for all: a new one of this size costs as much as the reading
    for run, extent in _data(runs, origin):
        for at in range(extent.start, extent.end, _CHUNK):
            length = min(_CHUNK, extent.end - at)
            read_ahead(origin, at + _AHEAD, min(at + _AHEAD + _CHUNK, extent.end))
            _read(origin, at, length, buffer)
            to = run.start + at - run.offset
            _write(target, to, buffer, length, needed=max(headroom, needed - done))
            done += length
            if done // _PIECE > (done - length) // _PIECE:
                writeback.start(target.fd)
            progress(min(done, image.allocated), image.allocated)
    progress(image.allocated, image.allocated)


def _data(runs: Iterable[Run], origin: OpenFile) -> Iterator[tuple[Run, Extent]]:
    """What of each run is data to the file system; runs that follow one another are one."""
    for run in _joined(runs):
        with host_errors("looking for data", origin.path):
            extents = tuple(data_extents(origin.fd, run.offset + run.length, run.offset))
        for extent in extents:
            yield run, extent


def _joined(runs: Iterable[Run]) -> Iterator[Run]:
    last: Run | None = None
    for run in runs:
        if last and run.start == last.start + last.length and run.offset == last.offset + last.length:
            last = Run(last.start, last.offset, last.length + run.length)
            continue
        if last:
            yield last
        last = run
    if last:
        yield last


def _read(origin: OpenFile, at: int, length: int, buffer: bytearray) -> None:
    """Fill the first `length` bytes of `buffer`."""
    try:
        found = os.preadv(origin.fd, [memoryview(buffer)[:length]], at)
    except OSError as error:
        raise HostError(
            f"{origin.path}: cannot be read at byte {at}: {error.strerror}",
            hint=FAILING,
        ) from error
    if found != length:
        raise ImageError(f"{origin.path}: ended at byte {at + found} while it was being copied")


def _write(target: OpenFile, start: int, buffer: bytearray, length: int, *, needed: int) -> None:
    for extent in _filled(buffer, length):
        at = extent.start
        while at < extent.end:
            try:
                at += os.pwrite(target.fd, memoryview(buffer)[at : extent.end], start + at)
            except OSError as error:
                raise host_error(error, "the work copy", target.path, needed=needed) from error


def _filled(buffer: bytearray, length: int) -> Iterator[Extent]:
    """The parts of the first `length` bytes that are not zero, in blocks of _HOLE."""
    begin: int | None = None
    last = length - length % _HOLE
    for at in range(0, length, _HOLE):
        empty = buffer.startswith(_ZEROS, at) if at < last else not any(buffer[at:length])
        if empty and begin is not None:
            yield Extent(begin, at)
            begin = None
        elif not empty and begin is None:
            begin = at
    if begin is not None:
        yield Extent(begin, length)
