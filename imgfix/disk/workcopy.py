"""The work copy: a sparse copy of the source beside the output, which becomes the output or vanishes.

Promise: at any moment, a crash included, the output is the old file, or absent, or complete; and the source
is never opened for writing.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal

from imgfix.disk import lock
from imgfix.disk.fault import HEADROOM, boundary, free_bytes, host_errors, no_space, sync_folder
from imgfix.disk.in_use import refuse_in_use
from imgfix.disk.mapped import copy_runs, runs_of
from imgfix.disk.qemu_convert import convert
from imgfix.disk.relocate import padded_size, relocate
from imgfix.disk.source import Source, Stamp, changed, open_regular, reader
from imgfix.disk.sparse import OpenFile, Progress, copy_data, data_extents, reflink
from imgfix.errors import HostError, UsageError


def _silent(_done: int, _total: int) -> None:
    """Progress that nobody watches."""


class WorkCopy:
    """An open work copy. `path` is what to change (a raw disk of `size` bytes), `output` what it will become.

    Use it as a context manager: leaving without `publish` removes the copy, whatever happened.
    """

    image_format: Literal["raw"] = "raw"

    def __init__(self, path: Path, output: Path, size: int, fd: int, held: ExitStack) -> None:
        self.path = path
        self.output = output
        self.size = size
        self._fd = fd
        self._held = held
        self._mode = 0o600
        self._force = False

    @classmethod
    def create(
        cls,
        source: Source,
        output: Path,
        *,
        force: bool = False,
        progress: Progress | None = None,
        headroom: int = HEADROOM,
        least: int = 0,
    ) -> WorkCopy:
        """Copy the guest data of `source` to `.NAME.partial` beside `output`, padded to whole MiB.

        The copy is a reflink where the file system can, else holes stay holes. A GPT's backup is moved to
        the new end. `progress` gets (bytes done, bytes in all) of data; `headroom` is the free space in bytes
        asked for beyond the data, `least` the bytes that the disk is to have at least. Raises UsageError when
        the output exists (unless `force`), is the source or has no folder; HostError for lack of space or
        permission, or when another imgfix writes this output;
        ImageError when the source changed since it was opened.
        """
        with host_errors("looking for it", output):
            output = _resolve(output, source, force=force)
            partial = output.with_name(f".{output.name}.partial")
            _refuse_source(partial, source)
        with ExitStack() as held:
            fd = lock.acquire(partial)
            held.callback(_discard, fd, partial)
            held.enter_context(lock.reading(source.path))
            boundary("copy")
            size, mode = _fill(source, OpenFile(fd, partial), progress or _silent, headroom, least)
            work = cls(partial, output, size, fd, held.pop_all())
            work._mode, work._force = mode, force
            return work
        raise AssertionError("unreachable: ExitStack suppresses nothing here")

    def publish(self, footer: bytes) -> Path:
        """Append `footer`, make the copy durable and rename it over the output; return the output's path.

        The file gets the source's permissions, narrowed by the umask and never unwritable for its owner.
        Raises HostError; the old output is then still there, or none.
        """
        self._check_own()
        with host_errors("writing the footer", self.path, needed=len(footer)):
            os.pwrite(self._fd, footer, self.size)
            os.fchmod(self._fd, self._mode)
            os.fsync(self._fd)
        boundary("footer")
        if not self._force:
            _refuse_existing(self.output)
        with host_errors("publishing", self.output):
            self.path.rename(self.output)
            boundary("renamed")
            sync_folder(self.output.parent)
        self.close()
        return self.output

    def close(self) -> None:
        """Remove the copy unless it was published, and let go of the lock; harmless when done before."""
        self._held.close()

    def __enter__(self) -> WorkCopy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_own(self) -> None:
        if not lock.is_at(self._fd, self.path):
            raise HostError(f"{self.path}: somebody removed or replaced the work copy while it was in use")
        size = os.fstat(self._fd).st_size
        if size != self.size:
            raise HostError(f"{self.path}: the work copy has {size} bytes, {self.size} expected")


def _resolve(output: Path, source: Source, *, force: bool) -> Path:
    """Follow links, so that the copy lies on the file system of the file that is replaced."""
    try:
        output = output.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(f"{output}: is no usable output name: {error}") from error
    folder = output.parent
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: there is no such folder, needed for the output", hint=f"mkdir -p {folder}"
        )
    _refuse_source(output, source)
    if output.exists() and not output.is_file():
        raise UsageError(f"{output}: exists and is not a regular file; the output must be one")
    if not force:
        _refuse_existing(output)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise HostError(f"{folder}: no permission to write there", hint="name an output elsewhere with -o")
    return output


def _refuse_existing(output: Path) -> None:
    if output.exists():
        raise UsageError(
            f"{output}: exists already", hint="give another name with -o, or replace it with --force"
        )


def _refuse_source(path: Path, source: Source) -> None:
    """Told by device and inode, so that hard and symbolic links are seen through."""
    if not path.exists():
        return
    found = path.stat()
    if (found.st_dev, found.st_ino) == (source.stamp.device, source.stamp.inode):
        raise UsageError(
            f"{path}: the output is the source itself, and imgfix never writes its source",
            hint="give another name with -o",
        )


def _fill(source: Source, target: OpenFile, progress: Progress, headroom: int, least: int) -> tuple[int, int]:
    """Copy, pad, move the GPT; return the size in bytes and the mode to publish with."""
    origin = OpenFile(open_regular(source.path), source.path)
    try:
        _check_unchanged(source, origin.fd)
        refuse_in_use(origin)
        runs = runs_of(source, origin)
        if runs is not None and source.image is not None:
            copy_runs(runs, source.image, origin, target, source.size, progress, headroom=headroom)
        elif source.image is not None:
            convert(source, source.image, target, progress, headroom=headroom)
        else:
            _copy(source, origin, target, progress, headroom)
        is_gpt = source.table.scheme == "gpt"
        size = padded_size(reader(target.fd, source.size), source.size, gpt_disk=is_gpt, least=least)
        with host_errors("the work copy", target.path):
            os.ftruncate(target.fd, size)
        _move_gpt(source, target, size)
        _check_unchanged(source, origin.fd)
        return size, _mode(os.fstat(origin.fd))
    finally:
        os.close(origin.fd)


def _copy(source: Source, origin: OpenFile, target: OpenFile, progress: Progress, headroom: int) -> None:
    if reflink(origin, target):
        # The clone brought a VHD's footer along.
        with host_errors("the work copy", target.path):
            os.ftruncate(target.fd, source.size)
        _check_space(target.path, headroom)
        progress(source.size, source.size)
        return
    with host_errors("looking for data", source.path):
        extents = tuple(data_extents(origin.fd, source.size))
    _check_space(target.path, sum(extent.end - extent.start for extent in extents) + headroom)
    # Its size first: XFS allocates ahead of writes that extend a file, into what should stay holes.
    with host_errors("the work copy", target.path):
        os.ftruncate(target.fd, source.size)
    copy_data(origin, target, extents, progress)


def _check_space(partial: Path, needed: int) -> None:
    if free_bytes(partial.parent) < needed:
        raise no_space("the work copy", partial.parent, needed=needed)


def _move_gpt(source: Source, target: OpenFile, size: int) -> None:
    if source.table.scheme != "gpt":
        return
    for write in relocate(reader(target.fd, source.size), source.size, size):
        with host_errors("moving the GPT's backup", target.path, needed=len(write.data)):
            os.pwrite(target.fd, write.data, write.offset)


def _check_unchanged(source: Source, fd: int) -> None:
    now = Stamp.of(os.fstat(fd))
    if now != source.stamp:
        raise changed(source.path, source.stamp, now)


def _mode(status: os.stat_result) -> int:
    """The source's permissions: an image may hold secrets, and is not to become readable by more people."""
    umask = os.umask(0o077)
    os.umask(umask)
    return (stat.S_IMODE(status.st_mode) & 0o666 & ~umask) | 0o600


def _discard(fd: int, partial: Path) -> None:
    """While the lock is held nobody else can have the name, unless somebody removed the file by hand."""
    try:
        if lock.is_at(fd, partial):
            partial.unlink()
    finally:
        os.close(fd)
