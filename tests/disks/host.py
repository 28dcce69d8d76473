"""What the building host offers: tools, packages, KVM."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

STARTED = time.monotonic()


class DiskError(Exception):
    """A disk could not be built; the message is for the terminal."""


def say(text: str) -> None:
    print(f"[{time.monotonic() - STARTED:5.0f}s] {text}", file=sys.stderr, flush=True)


def run(argv: Sequence[str | Path], *, stdin: str | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a host command; its output is shown only when it fails."""
    done = subprocess.run(
        [str(word) for word in argv],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        env=None if env is None else {**os.environ, **env},
    )
    if done.returncode:
        shown = " ".join(str(word) for word in argv)
        raise DiskError(f"exit {done.returncode}: {shown}\n{done.stdout}")
    return done.stdout


def require_root() -> None:
    """mkfs.ext4 -d copies owners and file capabilities: they must be real ones in the unpacked root."""
    if os.geteuid() != 0:
        raise DiskError("building a test disk needs root (chroot, owners); run it with sudo")


@functools.cache
def kvm_works() -> bool:
    """Whether KVM runs a Linux kernel.

    /dev/kvm may open, and even run a boot sector, while QEMU aborts or hangs at the first instructions of Linux:
    only a kernel that boots proves it. Without an initramfs it panics, and QEMU leaves: within 2 s where KVM works.
    """
    if "force_tcg" in os.environ.get("LIBGUESTFS_BACKEND_SETTINGS", ""):
        return False
    kernels = [path for path in sorted(Path("/boot").glob("vmlinuz-*")) if os.access(path, os.R_OK)]
    if not kernels or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    argv = [
        "qemu-system-x86_64",
        "-accel",
        "kvm",
        "-cpu",
        "max",
        "-machine",
        "pc",
        "-m",
        "256",
        "-nodefaults",
    ]
    argv += ["-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"]
    argv += ["-kernel", str(kernels[-1]), "-append", "console=ttyS0 panic=-1"]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return b"Kernel panic" in done.stdout
