"""packages: what is installed, by whichever package manager keeps a database."""

from __future__ import annotations

from imgfix.facts.dpkg import read_dpkg
from imgfix.facts.model import Package
from imgfix.facts.rpmdb import read_rpmdb
from imgfix.tree import Tree


def read_packages(tree: Tree) -> tuple[Package, ...]:
    """Return the guest's installed packages, sorted by name; empty where there is no database.

    A Debian may carry rpm as a tool, and the other way round: what dpkg lists goes first, an empty list
    leaves the word to rpm. Raises GuestError on a damaged database.
    """
    return read_dpkg(tree) or read_rpmdb(tree)
