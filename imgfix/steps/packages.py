"""Packages that the guest needs: the agents, growpart, gdisk, the Hyper-V daemons, an SSH server (R13, R17)."""

from __future__ import annotations

from collections.abc import Iterator

from imgfix import tree as files
from imgfix.change import Advice, Decision, InstallPackages, Noop
from imgfix.errors import GuestError
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.tree import Tree

#: Program of each package manager, in order of preference.
_MANAGERS = (
    ("apt", "/usr/bin/apt-get"),
    ("dnf", "/usr/bin/dnf"),
    ("yum", "/usr/bin/yum"),
    ("zypper", "/usr/bin/zypper"),
)


class Packages:
    """Decides what is to be installed; a stage of its own, because it changes the facts."""

    name = "packages"
    requirements = ("R13", "R16", "R17")

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield one installation, or a Noop, or advice where the profile only warns."""
        missing = tuple(name for name in profile.packages.add if facts.package(name) is None)
        if not missing:
            yield Noop("every package is installed")
            return
        names = ", ".join(missing)
        if profile.packages.missing == "warn":
            yield Advice(f"packages are missing: {names}")
        elif profile.packages.missing == "error":
            raise GuestError(
                f"packages are missing: {names}; the profile says `packages: {{missing: error}}`",
                hint="install them in the guest, or let imgfix do it: --set packages.missing=install",
            )
        else:
            yield InstallPackages(_manager(tree, names), missing, "Azure needs them")


def _manager(tree: Tree, names: str) -> str:
    found = next((name for name, program in _MANAGERS if files.is_file(tree, program)), None)
    if found is None:
        raise GuestError(
            f"packages are missing, and the guest has no apt-get, dnf, yum or zypper: {names}",
            hint="install them in the guest, or go on without: --set packages.missing=warn",
        )
    return found
