"""What a profile purges: packages that the guest shall not have, and what cannot stay without them (R9)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imgfix.change import Decision, Noop, RemovePackages
from imgfix.errors import GuestError
from imgfix.packaging.model import Package, System
from imgfix.packaging.removal import Removal, refused, removal
from imgfix.packaging.system import canonical, is_dpkg, read_system
from imgfix.packaging.versions import without_epoch
from imgfix.profile import Profile
from imgfix.tree import Tree


@dataclass(frozen=True, slots=True)
class Purge:
    """What goes, and from which system; without a system nothing does."""

    system: System | None
    removal: Removal


def read(profile: Profile, tree: Tree) -> Purge:
    """Return what the profile's `purge` takes away; raises GuestError where that would take too much along."""
    system = read_system(tree) if profile.packages.purge else None
    if system is None:
        return Purge(None, Removal((), ()))
    found = removal(system, profile.packages.purge, canonical=canonical(tree))
    kept = [name for want in profile.packages.wants for name in want.names]
    reasons = refused(found, kept)
    if reasons:
        raise GuestError(
            f"{', '.join(p.name for p in found.named)} cannot be purged: {'; '.join(reasons)}",
            hint="take them out of packages.purge, or purge what needs them by name, too",
        )
    return Purge(system, found)


def decisions(profile: Profile, purge: Purge) -> Iterator[Decision]:
    """Yield the removal, or why there is none."""
    if purge.system is None or not purge.removal.named:
        if profile.packages.purge:
            yield Noop("no package that the profile purges is installed")
        return
    along = [f"{package.name}, which needs {of.name}" for package, of in purge.removal.along]
    reason = "the profile purges it" + "".join(f"; with it goes {one}" for one in along)
    tool = "dpkg" if is_dpkg(purge.system) else "rpm"
    yield RemovePackages(tool, tuple(_spelled(p, purge.system) for p in purge.removal.packages), reason)


def _spelled(package: Package, system: System) -> str:
    """Return the package as its tool takes it; to rpm a name alone may stand for several, such as kernels."""
    if is_dpkg(system):
        return package.name if system.dialect.fits(package) else f"{package.name}:{package.architecture}"
    whole = f"{package.name}-{without_epoch(package.version)}"
    return f"{whole}.{package.architecture}" if package.architecture else whole
