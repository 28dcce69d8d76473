"""Can this host do it? One finding a question, with the remedy for each "no". Changes nothing on the host."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imgfix import accel, appliance, memory, sandbox
from imgfix.accel import Accelerator, Verdict
from imgfix.appliance import LaunchProbe
from imgfix.disk import qemu_img
from imgfix.disk.fault import free_bytes
from imgfix.disk.size import GIB, MIB, short
from imgfix.errors import HostError

#: Room for building the appliance: 370 MB measured, and as much again while supermin writes the new one.
CACHE_TO_BUILD = GIB
#: Room for the overlay of an appliance that is built already.
CACHE_TO_RUN = 100 * MIB
#: What the appliance may take, and a margin for QEMU and imgfix; QEMU takes it only as the guest touches it.
MEMORY_WANTED = (appliance.MEMORY_MIB + 256) * MIB
#: Below this even opening a disk is at the mercy of the OOM killer.
MEMORY_NEEDED = 768 * MIB


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer. `ok`: True, False (imgfix cannot work), None (a warning); a True one has no remedy."""

    name: str
    ok: bool | None
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do, by the host's package manager; `other` is for hosts with neither."""

    apt: str
    dnf: str
    other: str


def _everywhere(text: str) -> Remedy:
    return Remedy(text, text, text)


#: {name} stands for what the check fills in.
REMEDIES: Mapping[str, Remedy] = {
    "bindings": Remedy(
        "apt-get install python3-guestfs",
        "dnf install python3-libguestfs",
        "install libguestfs with its Python bindings from your distribution",
    ),
    "other python": _everywhere(
        "use the Python that the bindings are built for: start imgfix by scripts/imgfix, or make its venv "
        "with /usr/bin/python3 -m venv --system-site-packages"
    ),
    "qemu": Remedy("apt-get install {qemu}", "dnf install qemu-kvm", "install QEMU's system emulator"),
    "qemu-img": Remedy("apt-get install qemu-utils", "dnf install qemu-img", "install qemu-img"),
    "bad qemu-img": _everywhere("install qemu-img 2.6 or later"),
    "kernel": Remedy(
        "apt-get install linux-image-cloud-{debian} (Debian) or linux-image-virtual (Ubuntu)",
        "dnf install kernel-core",
        "install a kernel with its modules, or set SUPERMIN_KERNEL and SUPERMIN_MODULES",
    ),
    # Ubuntu's kernels are 0600: https://bugs.launchpad.net/ubuntu/+source/linux/+bug/759725
    "unreadable kernel": Remedy(
        "chmod 0644 {kernel} (as root; for later kernels too: by a script in /etc/kernel/postinst.d)",
        "chmod 0644 {kernel} (as root)",
        "chmod 0644 {kernel} (as root)",
    ),
    "modules": _everywhere("install the modules that belong to it, or another kernel with its modules"),
    "supermin kernel": _everywhere("correct or unset SUPERMIN_KERNEL and SUPERMIN_MODULES"),
    "xfs": Remedy(
        "apt-get install libguestfs-xfs", "dnf install libguestfs-xfs", "install libguestfs' XFS support"
    ),
    "cache": _everywhere("free some space there, or set LIBGUESTFS_CACHEDIR to a folder with {needed} free"),
    "cache folder": _everywhere("set LIBGUESTFS_CACHEDIR to a folder that you may write to"),
    "memory": _everywhere(
        "end other programs, give this machine more memory, or raise the container's limit"
    ),
    "sandbox": Remedy(
        "optional, for --chroot host: apt-get install bubblewrap, and have user namespaces allowed",
        "optional, for --chroot host: dnf install bubblewrap, and have user namespaces allowed",
        "optional, for --chroot host: install bubblewrap, and have user namespaces allowed",
    ),
    "launch": _everywhere("LIBGUESTFS_DEBUG=1 imgfix doctor shows what the appliance says"),
    "kvm absent": _everywhere(
        "optional, much faster: enable virtualization (in a VM: nested), "
        "or start the container with --device /dev/kvm"
    ),
    "kvm forbidden": _everywhere(
        "optional, much faster: usermod -aG kvm {user} (as root), then log in again"
    ),
    "kvm forced": _everywhere("optional, much faster: unset LIBGUESTFS_BACKEND_SETTINGS"),
    "kvm broken": _everywhere(
        "optional, much faster: have nested virtualization mended on the machine below; imgfix works without"
    ),
}

_APT_QEMU = {"x86_64": "qemu-system-x86", "aarch64": "qemu-system-arm", "ppc64le": "qemu-system-ppc"}
_DEBIAN_ARCH = {"x86_64": "amd64", "aarch64": "arm64"}


def _package_manager() -> str:
    return next((name for name in ("apt", "dnf") if shutil.which(f"{name}-get") or shutil.which(name)), "")


def _may_open(path: Path) -> bool:
    return os.access(path, os.R_OK | os.W_OK)


def _may_read(path: Path) -> bool:
    return os.access(path, os.R_OK)


@dataclass(frozen=True, slots=True)
class Host:
    """What the checks ask; the defaults are this host, tests put in others. `root` stands for `/`."""

    root: Path = Path("/")
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    machine: str = field(default_factory=platform.machine)
    manager: str = field(default_factory=_package_manager)
    versions: Callable[[], Mapping[str, str]] = appliance.versions
    qemu: Callable[[], str] = accel.qemu_binary
    qemu_img: Callable[[], qemu_img.Version] = qemu_img.installed_version
    accelerator: Callable[[], Verdict] = accel.choose
    launch: Callable[[], LaunchProbe] = appliance.probe_launch
    sandbox: Callable[[], None] = sandbox.require
    free_bytes: Callable[[Path], int] = free_bytes
    may_open: Callable[[Path], bool] = _may_open
    may_read: Callable[[Path], bool] = _may_read

    def glob(self, *patterns: str) -> tuple[Path, ...]:
        """Return the host's files that match any of the absolute patterns, sorted for each."""
        return tuple(path for pattern in patterns for path in sorted(self.root.glob(pattern.lstrip("/"))))

    def text(self, path: str) -> str:
        """Return the text of a file of /proc or /sys, or "" if it cannot be read."""
        try:
            return (self.root / path.lstrip("/")).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def remedy(self, key: str, **values: str) -> str:
        """Return the row `key` of REMEDIES for this host."""
        row = REMEDIES[key]
        text = {"apt": row.apt, "dnf": row.dnf}.get(self.manager, row.other)
        return text.format(**values)


def diagnose(launch: bool = True, host: Host | None = None) -> tuple[Finding, ...]:
    """Answer every question; `launch` also starts an appliance (3 s with KVM, 10 s or more without).

    An appliance is not started where something that it cannot do without is missing.
    """
    host = host or Host()
    findings = [check(host) for check in CHECKS]
    if launch:
        findings.append(_launch(host, [finding.name for finding in findings if finding.ok is False]))
    # Last, since a launch that fails under KVM changes the answer.
    return (*findings, _kvm(host))


def is_able(findings: tuple[Finding, ...]) -> bool:
    """Tell whether nothing among `findings` keeps imgfix from working; warnings do not."""
    return all(finding.ok is not False for finding in findings)


def _python(_host: Host) -> Finding:
    return Finding("python", True, f"Python {platform.python_version()} ({sys.executable})")


def _bindings(host: Host) -> Finding:
    try:
        found = host.versions()
    except HostError as error:
        # Installed, but for another Python: the extension fits one minor version only.
        elsewhere = host.glob("/usr/lib*/python3*/*-packages/guestfs.py")
        where = f" (there is one for another Python: {elsewhere[0]})" if elsewhere else ""
        return Finding(
            "bindings",
            False,
            f"{error.message}{where}",
            host.remedy("other python" if elsewhere else "bindings"),
        )
    return Finding("bindings", True, ", ".join(f"{name} {version}" for name, version in found.items()))


def _qemu(host: Host) -> Finding:
    try:
        return Finding("qemu", True, host.qemu())
    except HostError as error:
        package = _APT_QEMU.get(host.machine, "qemu-system")
        return Finding("qemu", False, error.message, host.remedy("qemu", qemu=package))


def _qemu_img(host: Host) -> Finding:
    try:
        version = host.qemu_img()
    except HostError as error:
        return Finding("qemu-img", False, error.message, host.remedy("qemu-img"))
    try:
        qemu_img.refuse_known_bad(version)
    except HostError as error:
        return Finding("qemu-img", False, error.message, host.remedy("bad qemu-img"))
    return Finding("qemu-img", True, f"qemu-img {'.'.join(map(str, version))}")


def _fixed_appliance(host: Host) -> Path | None:
    """The folder of LIBGUESTFS_PATH that holds a fixed appliance (libguestfs-make-fixed-appliance(1))."""
    folders = (Path(name) for name in host.environ.get("LIBGUESTFS_PATH", "").split(":") if name)
    return next((folder for folder in folders if (folder / "README.fixed").exists()), None)


def _kernel(host: Host) -> Finding:
    """supermin boots a kernel of this host: https://libguestfs.org/supermin.1.html."""
    if fixed := _fixed_appliance(host):
        return Finding("kernel", True, f"the fixed appliance in {fixed} has its own")
    if named := host.environ.get("SUPERMIN_KERNEL"):
        if host.may_read(Path(named)):
            return Finding("kernel", True, f"{named} (SUPERMIN_KERNEL)")
        detail = f"{named} (SUPERMIN_KERNEL) cannot be read"
        return Finding("kernel", False, detail, host.remedy("supermin kernel"))
    kernels = host.glob("/lib/modules/*/vmlinuz", "/boot/vmlinuz-*")
    whole = [kernel for kernel in kernels if _modules_of(host, kernel).is_dir()]
    if readable := next((kernel for kernel in whole if host.may_read(kernel)), None):
        return Finding("kernel", True, str(readable))
    if whole:
        detail = f"{whole[0]} cannot be read by this user; the appliance boots it"
        return Finding("kernel", False, detail, host.remedy("unreadable kernel", kernel=str(whole[0])))
    if kernels:
        detail = f"{kernels[0]} has no modules ({_modules_of(host, kernels[0])})"
        return Finding("kernel", False, detail, host.remedy("modules"))
    arch = _DEBIAN_ARCH.get(host.machine, host.machine)
    detail = "no kernel in /boot or /lib/modules; the appliance boots one of this host's"
    return Finding("kernel", False, detail, host.remedy("kernel", debian=arch))


def _modules_of(host: Host, kernel: Path) -> Path:
    if kernel.name == "vmlinuz":
        return kernel.parent
    return host.root / "lib/modules" / kernel.name.removeprefix("vmlinuz-")


def _xfs(host: Host) -> Finding:
    """Debian and Fedora pack XFS apart from libguestfs; Enterprise Linux's disks need it."""
    if fixed := _fixed_appliance(host):
        return Finding("xfs", True, f"depends on the fixed appliance in {fixed}")
    parts = host.glob("/usr/lib*/guestfs/supermin.d/*xfs*", "/usr/lib/*/guestfs/supermin.d/*xfs*")
    if parts:
        return Finding("xfs", True, "the appliance can open XFS")
    detail = "the appliance cannot open XFS, which Enterprise Linux installs on by default"
    return Finding("xfs", None, detail, host.remedy("xfs"))


def _cache(host: Host) -> Finding:
    """Order of the variables: https://libguestfs.org/guestfs.3.html#environment-variables."""
    environ = host.environ
    named = environ.get("LIBGUESTFS_CACHEDIR") or environ.get("TMPDIR")
    folder = Path(named) if named else host.root / "var/tmp"
    if not folder.is_dir() or not host.may_open(folder):
        detail = f"{folder} is no folder that this user may write to; the appliance is built there"
        return Finding("cache", False, detail, host.remedy("cache folder"))
    built = (folder / f".guestfs-{os.geteuid()}" / "appliance.d" / "root").exists()
    needed = CACHE_TO_RUN if built or _fixed_appliance(host) else CACHE_TO_BUILD
    free = host.free_bytes(folder)
    detail = f"{short(free)} free in {folder}, {short(needed)} needed for the appliance"
    if free < needed:
        return Finding("cache", False, detail, host.remedy("cache", needed=short(needed)))
    return Finding("cache", True, detail)


def available_memory(host: Host) -> int | None:
    """Return the bytes of memory that can be taken; None if that cannot be told."""
    return memory.available(host.text)


def _memory(host: Host) -> Finding:
    free = available_memory(host)
    if free is None:
        return Finding("memory", True, "the free memory cannot be told (/proc/meminfo)")
    detail = f"{short(free)} of memory available, up to {short(MEMORY_WANTED)} needed"
    if free >= MEMORY_WANTED:
        return Finding("memory", True, detail)
    return Finding("memory", None if free >= MEMORY_NEEDED else False, detail, host.remedy("memory"))


def _container(host: Host) -> Finding:
    """The files are those that systemd-detect-virt(1) looks for, too."""
    if host.glob("/run/.containerenv"):
        return Finding("container", True, "inside a container (podman)")
    if host.glob("/.dockerenv"):
        return Finding("container", True, "inside a container (docker)")
    if manager := host.text("/run/systemd/container").strip():
        return Finding("container", True, f"inside a container ({manager})")
    return Finding("container", True, "not inside a container")


def _sandbox(host: Host) -> Finding:
    """Nobody needs it who does not ask for it: hence a warning and never a no."""
    try:
        host.sandbox()
    except HostError as error:
        return Finding("sandbox", None, error.message, host.remedy("sandbox"))
    return Finding("sandbox", True, "a sandbox can be made; apply --chroot host rebuilds natively in it")


def _launch(host: Host, missing: list[str]) -> Finding:
    if missing:
        return Finding("launch", None, "not tried", f"first mend: {', '.join(missing)}")
    probe = host.launch()
    if probe.ok:
        return Finding("launch", True, f"an appliance starts in {probe.seconds:.1f} s ({probe.accelerator})")
    note = f" ({probe.note})" if probe.note else ""
    return Finding("launch", False, f"{probe.error}{note}", host.remedy("launch"))


def _kvm(host: Host) -> Finding:
    """Without KVM everything works, slower: hence a warning and never a no."""
    device = host.root / "dev/kvm"
    try:
        verdict = host.accelerator()
    except HostError as error:
        return Finding("kvm", None, f"not tried: {error.message}", "first mend: qemu")
    if verdict.accelerator is Accelerator.KVM:
        return Finding("kvm", True, verdict.reason)
    detail = f"{verdict.reason}; the appliance is emulated (TCG), which is slower"
    user = host.environ.get("USER") or str(os.geteuid())
    return Finding("kvm", None, detail, host.remedy(f"kvm {_kvm_state(host, device)}", user=user))


def _kvm_state(host: Host, device: Path) -> str:
    if "force_tcg" in host.environ.get("LIBGUESTFS_BACKEND_SETTINGS", ""):
        return "forced"
    if not device.exists() or not stat.S_ISCHR(device.stat().st_mode):
        return "absent"
    return "broken" if host.may_open(device) else "forbidden"


#: In the order in which one would mend things.
CHECKS: tuple[Callable[[Host], Finding], ...] = (
    _python,
    _bindings,
    _qemu,
    _qemu_img,
    _kernel,
    _xfs,
    _cache,
    _memory,
    _container,
    _sandbox,
)
