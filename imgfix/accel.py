"""Does KVM really work here? /dev/kvm can be opened on hosts where a guest then hangs or crawls.

The probe runs seven bytes of real-mode code under KVM and looks at QEMU's exit status. It takes 0.1 s where
KVM works; under a broken nested hypervisor it aborts, hangs, or takes seconds. The verdict is remembered for
the running boot of this host, next to libguestfs' own cache.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from imgfix.errors import HostError

KVM = Path("/dev/kvm")

#: A working KVM answers in about 0.1 s; what needs this long (seconds) is slower than emulation.
PROBE_TIMEOUT = 3.0

#: mov al,0x31; mov dx,0xf4; out dx,al; hlt - isa-debug-exit then ends QEMU with (0x31 << 1) | 1.
_BOOT_CODE = bytes.fromhex("b031baf400eef4")
_EXIT_STATUS = 0x31 << 1 | 1


class Accelerator(Enum):
    """How QEMU runs the appliance."""

    KVM = "kvm"
    TCG = "tcg"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The accelerator to use and why, in words for the user."""

    accelerator: Accelerator
    reason: str


def qemu_binary() -> str:
    """Return the path of this machine's qemu-system; raises HostError if there is none."""
    machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(platform.machine(), platform.machine())
    for name in (f"qemu-system-{machine}", "qemu-kvm", "/usr/libexec/qemu-kvm"):
        if found := shutil.which(name):
            return found
    raise HostError(
        f"qemu-system-{machine} is not installed; it runs the appliance that opens the disk",
        hint="install it: apt-get install qemu-system-x86, or dnf install qemu-kvm",
    )


def choose() -> Verdict:
    """Return the accelerator for this host; LIBGUESTFS_BACKEND_SETTINGS=force_tcg is honoured."""
    if "force_tcg" in os.environ.get("LIBGUESTFS_BACKEND_SETTINGS", ""):
        return Verdict(Accelerator.TCG, "LIBGUESTFS_BACKEND_SETTINGS asks for force_tcg")
    if not KVM.exists():
        return Verdict(Accelerator.TCG, "there is no /dev/kvm")
    if not os.access(KVM, os.R_OK | os.W_OK):
        return Verdict(Accelerator.TCG, "/dev/kvm may not be opened by this user")
    remembered = _memory()
    if remembered.is_file():
        return Verdict(Accelerator.TCG, remembered.read_text(errors="replace").strip())
    if reason := probe_kvm():
        remember_broken(reason)
        return Verdict(Accelerator.TCG, reason)
    return Verdict(Accelerator.KVM, "KVM works")


def probe_kvm() -> str:
    """Run a boot sector under KVM; return "" if that works, else why it does not."""
    if platform.machine() != "x86_64":
        return ""  # the probe is x86 code; elsewhere the launch itself is the probe
    with tempfile.TemporaryDirectory(prefix="imgfix-kvm-") as folder:
        sector = Path(folder) / "boot"
        sector.write_bytes(_BOOT_CODE.ljust(510, b"\0") + b"\x55\xaa")
        argv = [
            qemu_binary(),
            "-accel",
            "kvm",
            "-machine",
            "pc",
            "-m",
            "16",
            "-display",
            "none",
            "-nodefaults",
        ]
        argv += ["-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-no-reboot"]
        argv += ["-drive", f"file={sector},format=raw,if=ide,snapshot=on"]
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            return f"/dev/kvm opens, but a boot sector does not finish within {PROBE_TIMEOUT:.0f} s under it"
    if done.returncode == _EXIT_STATUS:
        return ""
    last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
    return f"/dev/kvm opens, but QEMU fails with it: {last}"


def remember_broken(reason: str) -> None:
    """Keep the verdict that KVM does not work until this host boots again; failing to is harmless."""
    memory = _memory()
    try:
        memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        memory.write_text(reason + "\n")
    except OSError:
        return


def _memory() -> Path:
    """The file that remembers a broken KVM: named after this boot and this QEMU."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    qemu = qemu_binary()
    key = hashlib.sha256(f"{boot} {qemu} {Path(qemu).stat().st_mtime_ns}".encode()).hexdigest()[:16]
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "imgfix" / f"kvm-broken-{key}"
