"""A sandbox of bubblewrap's for programs of a guest: no network, no privileges, no path of this host, bounded.

An ordinary user's namespaces (user_namespaces(7)): inside a program is root of nothing but its own files. Where imgfix
runs as root, the sandbox belongs to nobody, so that root inside is not root outside.
https://man7.org/linux/man-pages/man7/user_namespaces.7.html https://github.com/containers/bubblewrap
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from imgfix.disk.fault import free_bytes
from imgfix.disk.size import GIB, MIB, describe
from imgfix.errors import HostError

BWRAP = "bwrap"

#: Bounds: address space of a process, size of a file, memory of all processes, free space that stays (bytes), time (s).
PROCESS_MAX = 4 * GIB
FILE_MAX = 1 * GIB
MEMORY_MAX = 3 * GIB
SPACE_LEFT = 256 * MIB
TIME_MAX = 20 * 60

#: Seconds that killed processes get to be gone.
_LAST = 10.0

_PAGE = os.sysconf("SC_PAGE_SIZE")

#: Who owns the sandbox where imgfix runs as root: the kernel's overflow user, which owns nothing.
_NOBODY = 65534

#: ldconfig -r and dracut-install look into the tree that they build by chroot(2); root of a guest writes into folders
#: that are closed to all (0555, as /boot of Enterprise Linux). In a user namespace they reach its own files only.
_CAPABILITIES = (
    *("--cap-drop", "ALL", "--cap-add", "CAP_SYS_CHROOT"),
    *("--cap-add", "CAP_DAC_OVERRIDE", "--cap-add", "CAP_FOWNER"),
)
_ALONE = (
    *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"),
    *("--unshare-cgroup-try", "--uid", "0", "--gid", "0", "--hostname", "imgfix"),
    *("--die-with-parent", "--new-session", *_CAPABILITIES),
)
#: What replaces /sys is empty: a generator that looks at this host's devices would fit the image to them.
_KERNEL = ("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/sys", "--tmpfs", "/run", "--tmpfs", "/tmp")  # noqa: S108
#: This host's own programs, to be read; where the folders are links into /usr, as links.
_HOST = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")

#: The bounds that a process cannot escape, set by a shell of this host before the sandbox begins.
_BOUNDED = 'ulimit -v "$1" && ulimit -f "$2" && ulimit -c 0 && shift 2 && exec "$@"'

_NAMESPACES = (
    "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1 (Debian), "
    "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu 24.04), user.max_user_namespaces=10000 (RHEL 7); in a "
    "container they are often forbidden. Or leave out --chroot host"
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program in the sandbox ended: its status, or why it was ended, in words."""

    status: int
    stopped: str


def require() -> None:
    """Raise HostError, with the reason and the remedy, where this host cannot make such a sandbox."""
    if shutil.which(BWRAP) is None:
        raise HostError(
            "bubblewrap (bwrap) is not installed; --chroot host runs the guest's programs in its sandbox",
            hint="apt-get install bubblewrap, or dnf install bubblewrap; or leave out --chroot host",
        )
    if why := _refusal((*tools(), "--tmpfs", "/tree", *_KERNEL, "true")):
        raise HostError(
            f"this host lets user {_user() or os.geteuid()} make no sandbox, in which --chroot host runs the guest's "
            f"programs: {why}",
            hint=_NAMESPACES,
        )


def _refusal(argv: Sequence[str]) -> str:
    """Return why `argv` does not run, or ""."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env={},
            user=_user(),
            group=_user(),
            extra_groups=_groups(),
        )
    except OSError as error:
        return f"{argv[0]}: {error.strerror}"
    return done.stderr.strip() or f"status {done.returncode}" if done.returncode else ""


def tools(*binds: str) -> tuple[str, ...]:
    """Return the beginning of a command that runs this host's programs in a sandbox; `binds` are more options."""
    found: list[str] = []
    for folder in _HOST:
        path = Path(folder)
        if path.is_symlink():
            found += ["--symlink", str(path.readlink()), folder]
        elif path.is_dir():
            found += ["--ro-bind", folder, folder]
    return (_bwrap(), *_ALONE, *_no_more_users(), *found, *binds)


def guest(tree: Path, *options: str) -> tuple[str, ...]:
    """Return the beginning of a command that runs the programs of the guest in `tree`, and sees nothing else."""
    root = ("--bind", str(tree), "/", *_KERNEL)
    return (_bwrap(), *_ALONE, *_no_more_users(), *root, *options, "--chdir", "/")


def _bwrap() -> str:
    return shutil.which(BWRAP) or BWRAP


def _no_more_users() -> tuple[str, ...]:
    """Since 0.8 (https://github.com/containers/bubblewrap/releases/tag/v0.8.0)."""
    told = subprocess.run((_bwrap(), "--help"), capture_output=True, text=True, check=False)
    return ("--disable-userns",) if "--disable-userns" in told.stdout + told.stderr else ()


def owner() -> int:
    """Return the user id to whom the sandbox belongs."""
    return _NOBODY if os.geteuid() == 0 else os.geteuid()


def _user() -> int | None:
    """Return whom a child of root's is to be; None: who this is."""
    return _NOBODY if os.geteuid() == 0 else None


def _groups() -> tuple[int, ...] | None:
    return () if os.geteuid() == 0 else None


def own(folder: Path) -> None:
    """Give `folder` to whom the sandbox belongs."""
    if os.geteuid() == 0:
        os.chown(folder, _NOBODY, _NOBODY)


class Program:
    """A running program of the sandbox, watched; use `started`."""

    def __init__(self, process: subprocess.Popen[bytes], scratch: Path) -> None:
        self._process = process
        self._scratch = scratch
        self._stopped = ""
        self._killed: set[tuple[int, int]] = set()
        self._deadline = time.monotonic() + TIME_MAX
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def kill(self) -> None:
        """End it: the first process of its PID namespace takes the others along (--die-with-parent)."""
        self._killed |= {(process.pid, process.began) for process in _below(self._process.pid)}
        self._process.kill()

    def end(self) -> None:
        """Kill it if it still runs, and wait until nothing of it is left that could write into its folder."""
        self.kill()
        self.wait()
        last = time.monotonic() + _LAST
        while self._killed & {(p.pid, p.began) for p in _processes()} and time.monotonic() < last:
            time.sleep(0.02)

    def wait(self) -> Ended:
        """Wait for its end."""
        status = self._process.wait()
        self._watcher.join()
        return Ended(status, self._stopped)

    def _watch(self) -> None:
        while self._process.poll() is None:
            self._stopped = self._excess()
            if self._stopped:
                self.kill()
                return
            time.sleep(0.5)

    def _excess(self) -> str:
        if time.monotonic() > self._deadline:
            return f"it ran for {TIME_MAX} s, which is all that it may"
        if (free := free_bytes(self._scratch)) < SPACE_LEFT:
            return (
                f"{describe(free)} free in {self._scratch.parent}, {describe(SPACE_LEFT)} are to stay "
                "free; set TMPDIR to a folder with more"
            )
        if (taken := sum(process.resident for process in _below(self._process.pid))) > MEMORY_MAX:
            return f"it took {describe(taken)} of memory, {describe(MEMORY_MAX)} are allowed"
        return ""


@contextmanager
def started(
    argv: Sequence[str],
    scratch: Path,
    *,
    environment: dict[str, str],
    stdin: int = subprocess.DEVNULL,
    stdout: IO[bytes],
    stderr: IO[bytes],
) -> Iterator[Program]:
    """Start `argv` (of `tools` or `guest`) with the bounds; leaving ends it. `scratch` is where it may write."""
    bounds = (str(PROCESS_MAX >> 10), str(FILE_MAX >> 9))
    process = subprocess.Popen(
        ("/bin/sh", "-c", _BOUNDED, "imgfix", *bounds, *argv),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=environment,
        start_new_session=True,
        user=_user(),
        group=_user(),
        extra_groups=_groups(),
    )
    program = Program(process, scratch)
    try:
        yield program
    finally:
        program.end()


@dataclass(frozen=True, slots=True)
class _Process:
    """A row of /proc/PID/stat (proc(5)); `began` and the pid together name a process for good."""

    pid: int
    parent: int
    began: int
    resident: int


def _below(top: int) -> list[_Process]:
    """Return the process `top` and all below it, as far as they still run."""
    children: dict[int, list[_Process]] = {}
    found = []
    for process in _processes():
        children.setdefault(process.parent, []).append(process)
        if process.pid == top:
            found.append(process)
    for process in found:
        found += children.get(process.pid, [])
    return found


def _processes() -> Iterator[_Process]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if fields[0] not in "ZX":
            pages = int(fields[21])
            yield _Process(int(path.parent.name), int(fields[1]), int(fields[19]), pages * _PAGE)
