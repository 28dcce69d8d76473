"""The host's refusals (OSError) as errors that say what was being done, in both numbers for space."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imgfix.disk.size import MIB, describe
from imgfix.errors import HostError

_HINTS = {
    errno.EACCES: "choose an output folder that you may write to",
    errno.EPERM: "choose an output folder that you may write to",
    errno.EROFS: "choose an output folder on a file system that is mounted for writing",
    errno.EFBIG: "the file system or a limit (ulimit -f) refuses files this large: choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
}

#: What to do about a source that cannot be read.
FAILING = "the storage under the source is failing: copy the disk from its origin again"

#: Bytes of room for what is changed in the guest and for the footer, beyond the data that is copied.
HEADROOM = 64 * MIB

_ELSEWHERE = "name an output on another file system with -o (a change in place needs it here)"

#: Bytes below which a file system is full: writers find no room for their next piece while some blocks are left.
_FULL = 4 * MIB
#: The least that a file takes, in bytes, whatever is in it.
_BLOCK = 4096

#: Names the boundary at which this process is to die, as if somebody had killed it: how crash safety is tested.
KILL_AT = "IMGFIX_KILL_AT"

#: The same, but this process only stops (SIGSTOP), so that a test can kill another one, such as QEMU, and wake it.
STOP_AT = "IMGFIX_STOP_AT"

#: A file that gets the name of each boundary that is passed.
TRACE = "IMGFIX_TRACE_BOUNDARIES"


def boundary(name: str) -> None:
    """Mark a point between two steps at which a crash leaves another state behind; see KILL_AT and STOP_AT."""
    if trace := os.environ.get(TRACE):
        with Path(trace).open("a", encoding="utf-8") as stream:
            stream.write(f"{name}\n")
    for variable, number in ((KILL_AT, signal.SIGKILL), (STOP_AT, signal.SIGSTOP)):
        if os.environ.get(variable) == name:
            os.kill(os.getpid(), number)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def free_bytes(folder: Path) -> int:
    """Return the bytes that this user may still write on the file system of `folder`."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def host_error(error: OSError, doing: str, path: Path, *, needed: int = 0) -> HostError:
    """Return the HostError for `error`, met while `doing` something to `path`; `needed` in bytes."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return no_space(doing, path.parent, needed=needed)
    return HostError(f"{path}: {doing} failed: {error.strerror or error}", hint=_HINTS.get(error.errno or 0))


def no_space(doing: str, folder: Path, *, needed: int, instead: str = _ELSEWHERE) -> HostError:
    """Return the HostError for a file system without `needed` bytes; `instead` is what to do but free some."""
    free, wanted = describe(free_bytes(folder)), describe(max(needed, _BLOCK))
    return HostError(
        f"no space for {doing} in {folder}: {free} free, {wanted} needed",
        hint=f"free some space, or {instead}",
    )


def require_space(doing: str, folder: Path, *, needed: int) -> None:
    """Raise the HostError of no_space where the file system of `folder` is as good as full."""
    if free_bytes(folder) < _FULL:
        raise no_space(doing, folder, needed=needed)


@contextmanager
def host_errors(doing: str, path: Path, *, needed: int = 0) -> Iterator[None]:
    """Turn an OSError of the block into a HostError; see host_error."""
    try:
        yield
    except OSError as error:
        raise host_error(error, doing, path, needed=needed) from error
