"""btrfs: which subvolume is the root, among subvolumes for other things and the snapshots of the root."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from imgfix import tree
from imgfix.appliance import Appliance, GuestfsError
from imgfix.errors import ParseError
from imgfix.facts.distro import is_linux_root
from imgfix.textedit import fstab
from imgfix.tree import Entry, Tree

#: The subvolume that holds all others (btrfs-subvolume(8)).
TOP = 5

_LIST = """
set -e
btrfs subvolume get-default /sysroot
btrfs subvolume list /sysroot
echo --
btrfs subvolume list -r /sysroot
"""


@dataclass(frozen=True, slots=True)
class Subvolume:
    """One subvolume; `path` is below the top one, which has an empty path. `sealed` ones are read-only."""

    id: int
    path: str
    sealed: bool

    @property
    def options(self) -> tuple[str, ...]:
        """The mount options that choose it; a number, as a path may hold a comma."""
        return (f"subvolid={self.id}",)


class Below:
    """The folder `top` of a tree as a tree of its own."""

    def __init__(self, base: Tree, top: str) -> None:
        self._base = base
        self._top = top

    def _at(self, path: str) -> str:
        return posixpath.normpath(f"{self._top}/{path}")

    def lstat(self, path: str) -> Entry | None:
        """See Tree.lstat."""
        return self._base.lstat(self._at(path))

    def read_file(self, path: str) -> bytes:
        """See Tree.read_file."""
        return self._base.read_file(self._at(path))

    def listdir(self, path: str) -> tuple[str, ...]:
        """See Tree.listdir."""
        return self._base.listdir(self._at(path))


def roots(appliance: Appliance, top: Tree) -> tuple[Subvolume, ...]:
    """Return the subvolumes that are the root of an installed Linux; snapshots of one are none.

    `top` shows the mounted top subvolume. A root is what its own fstab puts on /; else the default subvolume,
    which is what the kernel mounts (SUSE); else every one that can be written to and looks like a root.
    """
    default, found = _subvolumes(appliance)
    candidates = [v for v in found if v.id == default or not v.sealed]
    systems = [v for v in candidates if is_linux_root(Below(top, f"/{v.path}"))]
    named = [v for v in systems if _names_itself(Below(top, f"/{v.path}"), v)]
    return tuple(named or [v for v in systems if v.id == default] or systems)


def _subvolumes(appliance: Appliance) -> tuple[int, tuple[Subvolume, ...]]:
    status, output = appliance.shell(_LIST)
    lines = output.split("\n")
    default = re.match(r"ID (\d+)", lines[0])
    if status or default is None:
        raise GuestfsError("btrfs", output)
    split = lines.index("--")
    sealed = {number for number, _ in _listed(lines[split + 1 :])}
    found = (Subvolume(number, path, number in sealed) for number, path in _listed(lines[1:split]))
    return int(default[1]), (Subvolume(TOP, "", False), *found)


def _listed(lines: list[str]) -> Iterator[tuple[int, str]]:
    for line in lines:
        if match := re.fullmatch(r"ID (\d+) .*? path (.*)", line):
            yield int(match[1]), match[2]


def _names_itself(root: Tree, subvolume: Subvolume) -> bool:
    """Tell whether the fstab in a root puts this very subvolume on /: in a snapshot it names the original."""
    if not tree.is_file(root, "/etc/fstab"):
        return False
    try:
        lines = fstab.parse(tree.read_text(root, "/etc/fstab"))
    except ParseError:
        return False  # told later, of the one root that is left
    options = [o for line in lines if line.entry and line.entry.file == "/" for o in line.entry.options]
    paths = [o.partition("=")[2].strip("/") for o in options if o.startswith("subvol=")]
    numbers = [o.partition("=")[2] for o in options if o.startswith("subvolid=")]
    return paths[-1] == subvolume.path if paths else numbers[-1:] == [str(subvolume.id)]
