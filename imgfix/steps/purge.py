"""What a profile purges: packages that the guest shall not have, and what cannot stay without them (R9).

And the packages of other hypervisors and clouds, as far as nothing else needs them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imgfix.change import Decision, Noop, RemovePackages
from imgfix.errors import GuestError
from imgfix.facts.model import Facts
from imgfix.packaging.model import Package, System
from imgfix.packaging.removal import Removal, refused, removal
from imgfix.packaging.system import canonical, is_dpkg, read_system
from imgfix.packaging.versions import without_epoch
from imgfix.profile import Profile
from imgfix.steps.platforms import unwanted
from imgfix.tree import Tree


@dataclass(frozen=True, slots=True)
class Purge:
    """What goes, and from which system; without a system nothing does. `foreign` are names of other platforms'."""

    system: System | None
    removal: Removal
    foreign: frozenset[str] = frozenset()


def read(profile: Profile, facts: Facts, tree: Tree) -> Purge:
    """Return what the profile's `purge` takes away; raises GuestError where that would take too much along."""
    products = unwanted(profile, facts)
    system = read_system(tree) if profile.packages.purge or products else None
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
    foreign: frozenset[str] = frozenset()
    for names in (tuple(name for name in product if name not in kept) for product in products):
        more = removal(system, (*profile.packages.purge, *foreign, *names), canonical=canonical(tree))
        known = {*foreign, *names, *(p.name for p in found.packages)}
        # What another package needs stays and is disabled: nobody asked for that other package to go.
        if not refused(more, kept) and all(package.name in known for package in more.packages):
            found, foreign = more, foreign | set(names)
    return Purge(system, found, foreign)


def decisions(profile: Profile, purge: Purge) -> Iterator[Decision]:
    """Yield the removal, or why there is none."""
    if purge.system is None or not purge.removal.named:
        if profile.packages.purge:
            yield Noop("no package that the profile purges is installed")
        return
    along = [f"{package.name}, which needs {of.name}" for package, of in purge.removal.along]
    kinds = ["the profile purges it"] if any(p.name not in purge.foreign for p in purge.removal.named) else []
    kinds += ["only another platform needs it"] if purge.foreign else []
    reason = " or ".join(kinds) + "".join(f"; with it goes {one}" for one in along)
    tool = "dpkg" if is_dpkg(purge.system) else "rpm"
    yield RemovePackages(tool, tuple(_spelled(p, purge.system) for p in purge.removal.packages), reason)


def _spelled(package: Package, system: System) -> str:
    """Return the package as its tool takes it; to rpm a name alone may stand for several, such as kernels."""
    if is_dpkg(system):
        return package.name if system.dialect.fits(package) else f"{package.name}:{package.architecture}"
    whole = f"{package.name}-{without_epoch(package.version)}"
    return f"{whole}.{package.architecture}" if package.architecture else whole
