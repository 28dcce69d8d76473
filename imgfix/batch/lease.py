"""A lease on one image: of all workers, on this machine and on others, one at a time works on it.

The lease is a file beside the results that names its holder. It is locked (flock) and renewed. On one kernel, also
between its containers, the lock alone tells whether the holder lives. Some network file systems keep locks to each
machine (nfs(5), local_lock; mount.cifs(8), nobrl): there a lease counts until it has not been renewed for TTL seconds.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from imgfix.disk.fault import host_errors
from imgfix.disk.lock import is_at

#: Seconds after which a lease of another machine that was not renewed is void.
TTL = 120.0
#: Seconds between two renewals.
RENEWAL = 20.0
#: Where locks are not shared, two machines may take one void lease at once: the one that wrote last has it, and
#: this many seconds later both can see which.
_SETTLE = 2.0


class Holder(BaseModel):
    """Who has the lease, as its file says; `boot` is the kernel's boot id, and `token` this very lease."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    host: str
    pid: int
    boot: str
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that is held; `release` it at the end."""

    path: Path
    fd: int
    holder: Holder

    def renew(self) -> bool:
        """Say that the holder lives; False if another has taken the lease, so that the work must end."""
        try:
            if not is_at(self.fd, self.path) or _read(self.fd) != self.holder:
                return False
            os.utime(self.fd)
        except OSError:
            return False  # ESTALE, EIO: the file system is gone, and with it what was held
        return True

    def release(self) -> None:
        """Let go of it; harmless where it is lost."""
        try:
            if is_at(self.fd, self.path) and _read(self.fd) == self.holder:
                self.path.unlink()
        finally:
            os.close(self.fd)


def take(path: Path, ttl: float = TTL) -> Lease | Holder:
    """Take the lease at `path`, or return who has it. Raises HostError where its file cannot be written."""
    while True:
        with host_errors("taking the lease", path):
            fd, fresh = _open(path)
            try:
                taken = _take(fd, path, fresh, ttl)
            except BaseException:
                os.close(fd)
                raise
        if not isinstance(taken, Lease):
            os.close(fd)
        if taken is not None:
            return taken


def _open(path: Path) -> tuple[int, bool]:
    """Open or create; the flag says that this call created it, which only one can."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644), True
    except FileExistsError:
        return os.open(path, flags | os.O_CREAT, 0o644), False


def _take(fd: int, path: Path, fresh: bool, ttl: float) -> Lease | Holder | None:
    """None means that the file was removed meanwhile: open it anew."""
    boot = _boot_id()
    old = _read(fd)
    try:
        # Who finds a file that was just made, and still is empty, has the lock for as long as he looks.
        fcntl.flock(fd, fcntl.LOCK_EX if fresh else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return old or Holder(host="an unknown host", pid=0, boot="", token="")
    if not is_at(fd, path):
        return None
    old = _read(fd)
    elsewhere = not fresh and (old is None or old.boot != boot)
    if elsewhere and _age(fd, path.parent) < ttl:
        return old or Holder(host="an unknown host", pid=0, boot="", token="")
    mine = Holder(host=socket.gethostname(), pid=os.getpid(), boot=boot, token=secrets.token_hex(16))
    os.ftruncate(fd, 0)
    os.pwrite(fd, mine.model_dump_json().encode(), 0)
    os.fsync(fd)
    if elsewhere:
        time.sleep(_SETTLE)
        winner = _read(fd)
        if winner != mine:
            return winner or mine
    return Lease(path, fd, mine)


def _read(fd: int) -> Holder | None:
    try:
        return Holder.model_validate_json(os.pread(fd, 4096, 0))
    except ValidationError:
        return None


def _age(fd: int, folder: Path) -> float:
    """Seconds since the last renewal, by the clock of the file system: those of two machines may differ."""
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(b"now")
        probe.flush()
        return os.fstat(probe.fileno()).st_mtime - os.fstat(fd).st_mtime


def _boot_id() -> str:
    """random(4): it is one for all containers of a kernel."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
