"""One imgfix an output: the partial file beside it carries the lock, and dies with the run."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imgfix.disk.fault import host_error, host_errors
from imgfix.errors import HostError, UsageError


def acquire(path: Path) -> int:
    """Create or take over the file `path`, empty, locked, readable by its owner alone; return its descriptor.

    A file that a killed run left behind has no lock and is taken over. Raises HostError if another process
    holds the lock, or the file cannot be made.
    """
    while True:
        with host_errors("creating the work copy", path):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        try:
            if _take(fd, path):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


@contextmanager
def changing(disk: Path) -> Iterator[int]:
    """Keep every other imgfix from the image while it is changed in place; yields a descriptor for reading.

    Raises HostError if one uses it, or it cannot be opened for writing.
    """
    with _held(disk, os.O_RDWR, fcntl.LOCK_EX, "is using") as fd:
        yield fd


@contextmanager
def reading(disk: Path) -> Iterator[None]:
    """Keep an imgfix that would change the image in place from it; others may read it too. Raises HostError."""
    with _held(disk, os.O_RDONLY, fcntl.LOCK_SH, "is changing"):
        yield


@contextmanager
def _held(disk: Path, flags: int, kind: int, doing: str) -> Iterator[int]:
    with host_errors("opening it", disk):
        fd = os.open(disk, flags | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HostError(
                f"another imgfix{_holder(os.fstat(fd))} {doing} {disk}",
                hint="wait for it to end; two of them cannot work on one image in place",
            ) from error
        except OSError as error:
            raise host_error(error, "locking", disk) from error
        yield fd
    finally:
        os.close(fd)


def is_at(fd: int, path: Path) -> bool:
    """Say whether `path` still names the file open as `fd`."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(fd))


def _take(fd: int, path: Path) -> bool:
    """Lock and empty; False if the name meanwhile means another file, so that the caller opens it anew."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{path}: is in the way of the work copy, and is no regular file", hint="remove it")
    _lock(fd, path)
    if not is_at(fd, path):
        return False
    with host_errors("taking over the work copy of a killed run", path):
        if status.st_nlink > 1:
            # A second name is a second owner: emptying the file would destroy what that one keeps.
            path.unlink()
            return False
        _empty(fd, path)
    return True


def _empty(fd: int, path: Path) -> None:
    try:
        os.fchmod(fd, 0o600)
        os.ftruncate(fd, 0)
    except BaseException:
        path.unlink()
        raise


def _lock(fd: int, path: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise HostError(
            f"another imgfix{_holder(os.fstat(fd))} is writing {path}",
            hint="wait for it to end, or name another output with -o",
        ) from error
    except OSError as error:
        raise host_error(error, "locking", path) from error


def _holder(status: os.stat_result) -> str:
    """The kernel lists locks as "1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF" (proc_locks(5))."""
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        rows = [line.split() for line in Path("/proc/locks").read_text(encoding="ascii").splitlines()]
    except (OSError, ValueError):
        return ""
    pids = [row[4] for row in rows if len(row) > 5 and row[1] == "FLOCK" and row[5] == device]
    return f" (pid {pids[0]})" if pids else ""
