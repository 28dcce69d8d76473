"""system: what is installed in a guest, by whichever package manager installed it."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

from imgfix.packaging import debian, rpm
from imgfix.packaging.model import System
from imgfix.tree import Tree


def read_system(tree: Tree) -> System | None:
    """Return the guest's packages with what they need and give; None where no package manager keeps a list.

    dpkg's list goes first, as in facts.packages. Raises GuestError on a damaged database.
    """
    return debian.read_system(tree) or rpm.read_system(tree)


def is_dpkg(system: System) -> bool:
    """Tell whether dpkg, and not rpm, keeps the list."""
    return isinstance(system.dialect, debian.Dpkg)


def canonical(tree: Tree) -> Callable[[str], str]:
    """Return what leads a path through the guest's folder links, as rpm sees files."""
    links = rpm.canonical(tree)

    def lead(path: str) -> str:
        folder = posixpath.dirname(path)
        above = next((f for f in links if folder == f or folder.startswith(f + "/")), None)
        return path if above is None else links[above] + path[len(above) :]

    return lead
