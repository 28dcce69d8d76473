"""Packages that the guest needs: the agents, growpart, gdisk, the Hyper-V daemons, an SSH server (R13, R17).

And those that it shall not have (R9). What comes from a folder is checked here, before anything is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imgfix import tree as files
from imgfix.change import Advice, Decision, InstallPackages, Noop
from imgfix.errors import GuestError
from imgfix.facts import agents
from imgfix.facts.model import Facts
from imgfix.packaging import offer as offers
from imgfix.packaging.model import Package, System
from imgfix.packaging.offer import Offer
from imgfix.packaging.solver import solve
from imgfix.packaging.system import canonical, is_dpkg, read_system
from imgfix.packaging.versions import deb_key, evr_key, without_epoch
from imgfix.packaging.want import Choice, Want
from imgfix.profile import Profile
from imgfix.steps import purge as purges
from imgfix.steps.agent import conflicting_manager
from imgfix.steps.purge import Purge
from imgfix.tree import Tree

_MIB = 1 << 20

#: Program of each package manager, in order of preference.
_MANAGERS = (
    ("apt", "/usr/bin/apt-get"),
    ("dnf", "/usr/bin/dnf"),
    ("yum", "/usr/bin/yum"),
    ("zypper", "/usr/bin/zypper"),
    ("tdnf", "/usr/bin/tdnf"),
)

_WITHOUT = "--set packages.missing=warn"


class Packages:
    """Decides what is to be removed and installed; a stage of its own, because it changes the facts.

    With an `offer` everything comes from that folder, without one from the guest's own repositories.
    """

    name = "packages"
    requirements = ("R9", "R13", "R16", "R17")

    def __init__(self, offer: Offer | None = None) -> None:
        self._offer = offer

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield removals, then one installation, or Noops, or advice where the profile only warns."""
        purge = purges.read(profile, facts, tree)
        yield from purges.decisions(profile, purge)
        missing: list[Want] = []
        for want in profile.packages.wants:
            unpackaged = _unpackaged(want, tree) if not _installed(want, facts) else None
            if unpackaged is not None:
                yield Advice(unpackaged)
            elif not any(_meets(choice, facts, tree) for choice in want.choices):
                missing.append(want)
        if not missing:
            yield Noop("every package is installed")
        elif profile.packages.missing == "warn":
            yield Advice(f"packages are missing: {_listed(missing)}")
        elif profile.packages.missing == "error":
            raise GuestError(
                f"packages are missing: {_listed(missing)}; the profile says `packages: {{missing: error}}`",
                hint="install them in the guest, or let imgfix do it: --set packages.missing=install",
            )
        elif self._offer is not None:
            yield _from_folder(self._offer, missing, purge, facts, tree)
        else:
            _require_no_conflict(missing, purge, facts)
            names = tuple(" | ".join(want.names) for want in missing)
            yield InstallPackages(_manager(tree, _listed(missing)), names, "Azure needs them")


def _listed(wants: Sequence[Want]) -> str:
    return ", ".join(map(str, wants))


def _installed(want: Want, facts: Facts) -> bool:
    return facts.package(*want.names) is not None


def _meets(choice: Choice, facts: Facts, tree: Tree) -> bool:
    package = facts.package(choice.name)
    if package is None or not choice.minimum:
        return package is not None
    return not _is_older(package.version, choice.minimum, tree)


def _is_older(version: str, minimum: str, tree: Tree) -> bool:
    """Compare by the guest's own rules; the epoch counts only where the minimum names one."""
    if ":" not in minimum:
        version = without_epoch(version)
    if files.is_file(tree, "/var/lib/dpkg/status"):
        return deb_key(version) < deb_key(minimum)
    return evr_key(version) < evr_key(minimum)


def _unpackaged(want: Want, tree: Tree) -> str | None:
    """Say that what is wanted is there without a package: from source, or by pip; None where it is not."""
    kind = next((k for k in agents.KINDS if {*want.names} & {*k.package_names}), None)
    found = agents.read_software(tree, kind) if kind is not None else None
    if found is None or not found.version:
        return None
    if any(c.minimum and _is_older(found.version, c.minimum, tree) for c in want.choices):
        return None
    return f"{found.name} {found.version} is installed without a package: {found.path}; nothing updates it"


def _from_folder(
    offer: Offer, missing: Sequence[Want], purge: Purge, facts: Facts, tree: Tree
) -> InstallPackages:
    """Return the installation of what is missing and all that it needs; raises GuestError where that lacks."""
    system = purge.system or read_system(tree)
    if system is None:
        raise GuestError(
            f"packages are missing, and neither dpkg nor rpm has a list of packages in the guest: {_listed(missing)}",
            hint=f"install them in the guest, or go on without: {_WITHOUT}",
        )
    if system.unfinished:
        raise GuestError(
            f"dpkg was interrupted in the guest: {', '.join(system.unfinished)} not fully installed",
            hint="run `dpkg --configure -a` in the guest, then export it again",
        )
    solution = solve(
        offers.wanted(missing),
        system,
        offer.packages,
        without=purge.removal.packages,
        canonical=canonical(tree),
    )
    if not solution.chosen:
        lines = offers.told(solution, offer, system) or ("no choice of packages fits together",)
        raise GuestError(
            f"the packages in {offer.where} do not do, nothing was changed:\n  " + "\n  ".join(lines),
            hint=f"put what is missing into {offer.where}, for the guest's release and architecture; or go on "
            f"without: {_WITHOUT}",
        )
    _require_space(solution.chosen, solution.gone, facts)
    along = [package.name for package in solution.chosen if not _is_wanted(package, missing)]
    reason = "Azure needs them" + (f", and they need {', '.join(along)}" if along else "")
    first = [package for package in solution.chosen if _is_wanted(package, missing)]
    return InstallPackages(
        _local_manager(system, tree),
        tuple(package.name for package in first),
        reason,
        tuple(package.file for package in solution.chosen if not package.parallel),
        tuple(package.file for package in solution.chosen if package.parallel),
    )


def _local_manager(system: System, tree: Tree) -> str:
    """apt puts packages in the order in which they can be configured; dpkg alone, like rpm, is there everywhere."""
    if not is_dpkg(system):
        return "rpm"
    return "apt" if files.is_file(tree, dict(_MANAGERS)["apt"]) else "dpkg"


def _is_wanted(package: Package, wants: Sequence[Want]) -> bool:
    return any(package.name in want.names for want in wants)


def _require_space(new: Sequence[Package], gone: Sequence[Package], facts: Facts) -> None:
    filesystem = facts.storage.holding("/usr")
    needed = sum(p.size for p in new) - sum(p.size for p in gone)
    if filesystem is None or filesystem.free is None or needed <= filesystem.free:
        return
    raise GuestError(
        f"{filesystem.free // _MIB} MiB free on {filesystem.mountpoint}, {-(-needed // _MIB)} MiB needed to install "
        f"{len(new)} packages",
        hint=f"free space in the guest, or go on without the packages: {_WITHOUT}",
    )


def _require_no_conflict(missing: Sequence[Want], purge: Purge, facts: Facts) -> None:
    """Refuse what the repositories' package would throw out of the guest: its network."""
    manager = conflicting_manager(facts)
    agent = next((want for want in missing if {*want.names} & {*agents.AGENT.package_names}), None)
    if manager is None or agent is None or manager in {p.name for p in purge.removal.packages}:
        return
    raise GuestError(
        f"{agent.names[0]} conflicts with {manager}, which is installed: the package manager would remove it",
        hint=f"agree by --set packages.purge='[{manager}]' if the guest has another network manager; or install the "
        f"agent in the guest from source, or go on without: {_WITHOUT}",
    )


def _manager(tree: Tree, names: str) -> str:
    found = next((name for name, program in _MANAGERS if files.is_file(tree, program)), None)
    if found is None:
        raise GuestError(
            f"packages are missing, and the guest has no apt-get, dnf, yum, zypper or tdnf: {names}",
            hint=f"install them in the guest, or go on without: {_WITHOUT}",
        )
    return found
