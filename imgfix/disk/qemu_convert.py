"""One `qemu-img convert` from an image into the work copy: formats said, nothing probed, holes kept."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from imgfix.disk import writeback
from imgfix.disk.fault import free_bytes, no_space
from imgfix.disk.images import Image
from imgfix.disk.qemu_img import installed_version, refuse_known_bad
from imgfix.disk.source import Source, require_unchanged
from imgfix.disk.sparse import OpenFile, Progress
from imgfix.errors import HostError, ImageError

_PR_SET_PDEATHSIG = 1
_PERCENT = re.compile(rb"\((\d+\.\d+)/100%\)")
#: What QEMU says of a disk that another QEMU has open for writing (block/file-posix.c, raw_check_lock_bytes).
_IN_USE = "Is another process using the image"


def convert(source: Source, image: Image, target: OpenFile, progress: Progress, *, headroom: int) -> None:
    """Write the guest's bytes of `source` into the empty file `target`; zeros become holes.

    `progress` gets (bytes done, bytes in all) of what the image holds; `headroom` is the free space in bytes asked for
    beyond that. Raises HostError for a known-bad or missing qemu-img, lack of space and a failed conversion, ImageError
    for an image in use or changed meanwhile.
    """
    refuse_known_bad(installed_version())
    needed = image.allocated + headroom
    if free_bytes(target.path.parent) < needed:
        raise no_space("the work copy", target.path.parent, needed=needed)
    # By its descriptor: the file that is locked is the one that is written, whatever its name means by now. A file of
    # no length is made by qemu-img again, so that it knows it to be all zeros and writes none.
    output = f"/proc/self/fd/{target.fd}"
    argv = ("qemu-img", "convert", "-p", "-O", "raw", image.node.name, output)
    with tempfile.TemporaryFile() as errors:
        with _running(argv, target.fd, errors) as child:
            assert child.stdout is not None
            for done in _percents(child.stdout):
                progress(int(image.allocated * done / 100), image.allocated)
                writeback.start(target.fd)
            status = child.wait()
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace").strip()
    if status:
        raise _failure(source, target, status, said, needed)
    require_unchanged(source)
    progress(image.allocated, image.allocated)


@contextmanager
def _running(argv: tuple[str, ...], fd: int, errors: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Run qemu-img; whatever ends the block, or this process, ends it too."""
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            pass_fds=(fd,),
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            preexec_fn=_die_with_parent(),  # noqa: PLW1509 # it makes one system call
        )
    except OSError as error:
        raise HostError(f"qemu-img convert does not run: {error}") from error
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


def _die_with_parent() -> Callable[[], None]:
    """prctl(2), PR_SET_PDEATHSIG: a killed imgfix leaves no qemu-img behind that goes on writing."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    return arrange


def _percents(stream: IO[bytes]) -> Iterator[float]:
    """The progress that qemu-img -p prints: "    (12.34/100%)" and a carriage return, over and over."""
    while piece := os.read(stream.fileno(), 4096):
        found = _PERCENT.findall(piece)
        if found:
            yield float(found[-1])


def _failure(source: Source, target: OpenFile, status: int, said: str, needed: int) -> HostError | ImageError:
    if _IN_USE in said:
        return ImageError(
            f"{source.path}: another process has it open for writing",
            hint="shut down the virtual machine that uses it, or work on a snapshot's copy",
        )
    if os.strerror(28) in said:
        return no_space("the work copy", target.path.parent, needed=needed)
    how = f"was ended by signal {-status}" if status < 0 else f"failed ({status})"
    return HostError(
        f"{source.path}: qemu-img convert {how}: {said or 'it said nothing'}",
        hint="is the storage under the source failing? `qemu-img check` may tell more",
    )
