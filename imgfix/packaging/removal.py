"""removal: what goes from a guest when some packages do, and what must not."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from imgfix.packaging.model import Package, System
from imgfix.packaging.world import Index, World, given

#: What no other package may take along, by name; a profile can still name it. What is essential to dpkg, and what
#: a profile adds, is refused besides.
VITAL = (
    *(
        "linux-image-*",
        "kernel",
        "kernel-core",
        "kernel-default*",
        "kernel-uek*",
        "grub*",
        "shim*",
        "efibootmgr",
    ),
    *("systemd*", "upstart", "sysvinit*", "init", "dracut*", "initramfs-tools*", "mkinitrd", "lvm2", "mdadm"),
    *("apt", "dpkg", "dnf*", "yum", "zypper", "libzypp", "rpm", "bash", "dash", "coreutils", "util-linux"),
    *("glibc", "libc6", "glibc-common", "filesystem", "setup", "basesystem", "base-files", "shadow*", "sudo"),
    *(
        "openssh-server",
        "openssh",
        "cloud-init",
        "WALinuxAgent",
        "walinuxagent",
        "waagent",
        "python-azure-agent",
    ),
    *(
        "NetworkManager",
        "network-manager",
        "ifupdown",
        "netplan.io",
        "netplan",
        "wicked",
        "dhclient",
        "dhcp-client",
    ),
    *("isc-dhcp-client", "dhcpcd-base", "network-scripts", "initscripts", "selinux-policy*"),
)


@dataclass(frozen=True, slots=True)
class Removal:
    """`named` is what the profile lists and the guest has, `along` what cannot stay without it: (package, of)."""

    named: tuple[Package, ...]
    along: tuple[tuple[Package, Package], ...]

    @property
    def packages(self) -> tuple[Package, ...]:
        """All that goes."""
        return (*self.named, *(package for package, _ in self.along))


def removal(
    system: System, patterns: Iterable[str], *, canonical: Callable[[str], str] = lambda path: path
) -> Removal:
    """Return what goes with the packages that match `patterns`; a package whose need was unmet before stays."""
    wanted = tuple(patterns)
    named = tuple(p for p in system.packages if any(fnmatch.fnmatchcase(p.name, w) for w in wanted))
    if not named:
        return Removal((), ())
    index = Index(system.dialect, system.packages, canonical)
    before = World(index, frozenset(system.packages))
    world = before.changed(remove=named)
    along: list[tuple[Package, Package]] = []
    looked_at = list(named)
    for gone in looked_at:
        for package in _orphans(before, world, gone):
            along.append((package, gone))
            looked_at.append(package)
            world = world.changed(remove=(package,))
    return Removal(named, tuple(along))


def _orphans(before: World, world: World, gone: Package) -> Iterator[Package]:
    index = before.index
    names = {provided.name for provided in given(gone)} | {*map(index.canonical, gone.files)}
    users = dict.fromkeys(user for name in names for user in index.users.get(name, ()))
    for user in users:
        needs = (*user.first, *user.needs)
        if user in world and any(before.holds(need) and not world.holds(need) for need in needs):
            yield user


def refused(found: Removal, kept: Iterable[str]) -> tuple[str, ...]:
    """Return, in words, why a removal must not be carried out; empty where it may. `kept` are names."""
    needed = frozenset(kept)
    reasons = [f"{package.name} is essential" for package in found.packages if package.essential]
    for package, of in found.along:
        if package.name in needed:
            reasons.append(f"{package.name}, which the profile adds, needs {of.name}")
        elif not package.essential and any(fnmatch.fnmatchcase(package.name, name) for name in VITAL):
            reasons.append(f"{package.name} needs {of.name}")
    return tuple(reasons)
