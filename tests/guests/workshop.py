"""Real applies on real disks, shared by the tests of one pytest run, its workers included."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: An unprivileged user for the applies that need no root; it need not be in /etc/passwd.
USER = 1500

#: Counts the appliances that are really started: libguestfs runs QEMU for its feature tests too. Where KVM is broken
#: and nobody has found that out yet, the first one is started in vain.
_COUNTING_QEMU = """#!/bin/sh
case "$*" in
  *guestfsd.sock*accel=tcg* | *accel=tcg*guestfsd.sock*) echo emulated >>{log} ;;
  *guestfsd.sock*) echo by KVM >>{log} ;;
esac
exec {qemu} "$@"
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One finished call of imgfix: exit status, both streams, and how many appliances it launched.

    A first one by KVM that is followed by one without is not counted.
    """

    status: int
    stdout: str
    stderr: str
    launches: int


@dataclass(frozen=True, slots=True)
class Applied:
    """A test disk, what its sha256 was before, the VHD made of it, and the run that made it."""

    source: Path
    sha256: str
    vhd: Path
    run: Run


def imgfix(
    *arguments: str | Path,
    folder: Path,
    user: int | None = None,
    environment: dict[str, str] | None = None,
    timeout: float = 3600,
    within: str = "",
) -> Run:
    """Run the command line as a user would; `user` drops root's privileges where the tests have them.

    `within` is a shell script that runs in a mount namespace of its own and ends by executing "$@".
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"launches-{time.monotonic_ns()}"
    qemu = folder / "qemu"
    real = shutil.which("qemu-system-x86_64")
    assert real, "qemu-system-x86_64 is not installed"
    qemu.write_text(_COUNTING_QEMU.format(log=shlex.quote(str(log)), qemu=real))
    qemu.chmod(0o755)
    argv = [sys.executable, "-m", "imgfix", *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "LIBGUESTFS_HV": str(qemu), **(environment or {})}
    if user is not None and os.geteuid() == 0:
        home = folder / "home"
        home.mkdir(exist_ok=True)
        for path in (folder, home):
            os.chown(path, user, user)
        argv = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--", *argv]
        env = {**env, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    if within:
        argv = ["unshare", "--mount", "--map-root-user", "/bin/sh", "-c", within, "sh", *argv]
    done = subprocess.run(
        argv, env=env, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False
    )
    started = log.read_text().splitlines() if log.exists() else []
    in_vain = len(set(started)) > 1 and started[0] == "by KVM"
    return Run(done.returncode, done.stdout, done.stderr, len(started) - in_vain)


def sha256(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def made(shared: Path, disk: str, *, user: int | None = None) -> Path:
    """Return a real test disk, built (or copied from the cache) once per test run; only to be read."""
    folder = shared / disk
    folder.mkdir(exist_ok=True, parents=True)
    source, digest = folder / f"{disk}.raw", folder / "sha256"
    with (shared / f"{disk}-disk.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not digest.exists():
            script = ROOT / "scripts" / "make-test-disk"
            done = subprocess.run([script, disk, source], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            if user is not None and os.geteuid() == 0:
                os.chown(folder, user, user)
                os.chown(source, user, user)
            digest.write_text(sha256(source))
    return source


def applied(
    shared: Path,
    disk: str,
    profile: str,
    *settings: str,
    user: int | None = None,
    more: tuple[str, ...] = (),
) -> Applied:
    """Apply `profile` to test disk `disk` once per test run; workers that come second wait for the first.

    `settings` are those of --set; `more` are further options; files in them lie beside the disk.
    """
    source = made(shared, disk, user=user)
    folder = source.parent
    streams = [folder / name for name in ("status", "stdout", "stderr", "launches")]
    vhd = folder / f"{disk}.vhd"
    with (shared / f"{disk}-apply.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not streams[0].exists():
            options = [word for setting in settings for word in ("--set", setting)]
            run = imgfix("apply", profile, source, "-o", vhd, *options, *more, folder=folder, user=user)
            parts = (run.status, run.stdout, run.stderr, run.launches)
            for path, part in reversed(list(zip(streams, parts, strict=True))):
                path.write_text(str(part))
    status, stdout, stderr, launches = (path.read_text() for path in streams)
    run = Run(int(status), stdout, stderr, int(launches))
    assert run.status == 0, run.stderr
    return Applied(source, (folder / "sha256").read_text(), vhd, run)
