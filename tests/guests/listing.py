"""Two states of one guest compared file by file, by libguestfs alone, with what imgfix said that it would change."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

#: Lies in the guest's root while it is written and read.
_LISTING = "/imgfix-listing"
#: Type, mode, owner, size, seconds of the last change of the content, target of a link, path.
_FORMAT = r"%y\t%m\t%U\t%G\t%s\t%T@\t%l\t%P\0"

#: What the generators of rebuilds write besides the file that they are for.
OUTPUTS = (
    # depmod: https://man7.org/linux/man-pages/man8/depmod.8.html
    "*/lib/modules/*/modules.*",
    # update-initramfs keeps a checksum of each image it made
    "/var/lib/initramfs-tools/*",
    # grub2-mkconfig and grub2-editenv
    "/boot/grub2/grubenv",
)


@dataclass(frozen=True, slots=True)
class File:
    """One entry; a folder has no size and time of its own, as they follow from what is in it."""

    kind: str
    mode: str
    owner: str
    size: str
    changed: str
    target: str


@dataclass(frozen=True, slots=True)
class State:
    """A guest opened without imgfix, and all of its files as they were when it was opened."""

    handle: Any
    files: dict[str, File]


def listing(handle: Any, folder: Path) -> dict[str, File]:
    """Return every entry of the mounted guest by its path."""
    root = "/sysroot"
    found = f"find {root} -mindepth 1 -printf '{_FORMAT}' >{root}{_LISTING}"
    answer = str(handle.debug("sh", [f"{found} 2>/tmp/complaints; echo status=$?; cat /tmp/complaints"]))
    status, *complaints = answer.strip().splitlines()
    # A default subvolume of btrfs is seen again inside of itself, which find does not enter.
    loops = all("File system loop detected" in line for line in complaints)
    assert status == ("status=1" if complaints else "status=0"), answer
    assert loops, answer
    local = folder / "listing"
    handle.download(_LISTING, str(local))
    handle.rm(_LISTING)
    rows = (
        row.split("\t", 7) for row in local.read_bytes().decode("utf-8", "surrogateescape").split("\0")[:-1]
    )
    local.unlink()
    files = {f"/{path}": _file(*row) for *row, path in rows}
    del files[_LISTING]
    return files


def _file(kind: str, mode: str, user: str, group: str, size: str, changed: str, target: str) -> File:
    is_file = kind == "f"
    return File(kind, mode, f"{user}:{group}", size if is_file else "", changed if is_file else "", target)


@dataclass(frozen=True, slots=True)
class Planned:
    """Paths of a verdict: of edits and of rebuilds; `gone` are those that are to be removed."""

    edits: frozenset[str]
    gone: frozenset[str]
    rebuilds: frozenset[str]


def planned(verdict: Mapping[str, Any]) -> Planned:
    """Return the paths that a verdict (imgfix check --json) says apply changes."""
    acts = [
        (finding["action"], finding["target"])
        for requirement in verdict["requirements"]
        for finding in requirement["findings"]
        if finding["action"] is not None and finding["target"].startswith("/")
    ]
    edits = ("write", "empty", "remove", "link", "copy", "append", "set attributes")
    return Planned(
        frozenset(target for action, target in acts if action in edits),
        frozenset(target for action, target in acts if action == "remove"),
        frozenset(target for action, target in acts if action == "rebuild"),
    )


def compare(
    before: Mapping[str, File], after: Mapping[str, File], plan: Planned
) -> tuple[set[str], set[str]]:
    """Return the paths that changed and were not planned, and those that were planned and did not change."""
    changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    unplanned = {path for path in changed if not _is_planned(path, before, after, plan)}
    return unplanned, {path for path in plan.edits if not _holds(path, changed)}


def _is_planned(path: str, before: Mapping[str, File], after: Mapping[str, File], plan: Planned) -> bool:
    if path in plan.edits or path in plan.rebuilds:
        return True
    if any(fnmatch(path, pattern) for pattern in OUTPUTS if plan.rebuilds):
        return True
    if path not in after:  # it was in a folder that was removed
        return any(path.startswith(f"{gone}/") for gone in plan.gone)
    # A folder that a new file needed.
    return path not in before and after[path].kind == "d" and _holds(path, plan.edits | plan.rebuilds)


def _holds(path: str, paths: Iterable[str]) -> bool:
    """Tell whether `path`, or something in it, is among `paths`."""
    return any(posixpath.commonpath((path, one)) == path for one in paths)
