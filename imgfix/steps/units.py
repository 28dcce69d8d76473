"""systemd units, enabled and disabled by files: what `systemctl` would do, without running the guest."""

from __future__ import annotations

import glob
import posixpath
from collections.abc import Iterator, Sequence

from imgfix import tree as files
from imgfix.change import Decision, Link, Noop, Remove
from imgfix.steps.edit import parsing, unfollowed
from imgfix.textedit import unit as units
from imgfix.tree import Kind, Tree

ADMIN = "/etc/systemd/system"
#: systemd.unit(5), in order of precedence.
FOLDERS = (ADMIN, "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")


def find(tree: Tree, names: Sequence[str]) -> tuple[str, str] | None:
    """Return (name, path) of the first unit of `names` that the guest has, masked or not; or None.

    A template (getty@.service) is found for its instance (getty@tty1.service).
    """
    for name in names:
        for folder in FOLDERS:
            path = f"{folder}/{template(name)}"
            if files.is_file(tree, path) and not _masks(tree, path):
                return name, path
    return None


def template(name: str) -> str:
    """Return the file that a unit comes from: getty@tty1.service comes from getty@.service."""
    stem, at, _ = name.partition("@")
    return f"{stem}@{posixpath.splitext(name)[1]}" if at else name


def enabled(
    tree: Tree, name: str, path: str, reason: str, *, wanted_by: Sequence[str] = ()
) -> Iterator[Decision]:
    """Decide what starts the unit `name` (file `path`) at boot; `wanted_by` stands in for its [Install]."""
    for mask in dict.fromkeys((f"{ADMIN}/{name}", f"{ADMIN}/{template(name)}")):
        if _masks(tree, mask):
            yield Remove(mask, f"{reason}: it was masked")
    with parsing(path):
        install = units.install_section(files.read_text(tree, path))
    targets = [f"{t}.wants" for t in (wanted_by or install.wanted_by)] + [
        f"{t}.requires" for t in install.required_by
    ]
    missing = [t for t in targets if not _is_there(tree, t, name)]
    for target in missing:
        yield Link(f"{ADMIN}/{target}/{name}", path, reason)
    for alias in install.alias:
        if not any(files.exists(tree, f"{folder}/{alias}") for folder in FOLDERS):
            yield Link(f"{ADMIN}/{alias}", path, reason)
    if not targets:
        yield Noop(f"{name} has no [Install]: other units start it")
    elif not missing:
        yield Noop(f"{name} is enabled")


def installed(tree: Tree, pattern: str) -> tuple[str, ...]:
    """Return the names of the guest's units that match `pattern`, a glob, each once."""
    found = [path for folder in FOLDERS for path in files.glob(tree, f"{folder}/{pattern}")]
    return tuple(dict.fromkeys(posixpath.basename(path) for path in found if not files.is_dir(tree, path)))


def disabled(tree: Tree, name: str, reason: str) -> Iterator[Decision]:
    """Decide what keeps the unit `name` from starting at boot; one Noop where nothing starts it.

    `name` may be a template (policy-routes@.service): then its instances are disabled.
    """
    stem, at, kind = name.partition("@.")
    pattern = f"{glob.escape(stem)}@*.{kind}" if at else glob.escape(name)
    starts = [
        path
        for kept in ("wants", "requires", "upholds")
        for path in files.glob(tree, f"{ADMIN}/*.{kept}/{pattern}")
    ]
    starts += _aliases(tree, name)
    for path in starts:
        yield Remove(path, reason)
    vendor = [path for folder in FOLDERS[1:] for path in files.glob(tree, f"{folder}/*.wants/{pattern}")]
    mask = f"{ADMIN}/{name}"
    if vendor and not at and not _masks(tree, mask):
        # What the vendor's folder pulls in can only be masked; a unit of the admin's own would be in the way.
        if unfollowed(tree, mask) is not None:
            yield Remove(mask, reason)
        yield Link(mask, "/dev/null", reason)
    elif not starts:
        yield Noop(f"{name} does not start at boot")


def _aliases(tree: Tree, name: str) -> list[str]:
    found = find(tree, [name])
    if found is None or "@." in name:
        return []
    with parsing(found[1]):
        aliases = units.install_section(files.read_text(tree, found[1])).alias
    links = [f"{ADMIN}/{alias}" for alias in aliases]
    return [p for p in links if (entry := unfollowed(tree, p)) is not None and entry.kind is Kind.LINK]


def _is_there(tree: Tree, target: str, name: str) -> bool:
    """Tell whether `target` (a .wants folder) pulls the unit in; the first folder that names it decides."""
    places = (f"{folder}/{target}/{name}" for folder in FOLDERS)
    found = next((path for path in places if unfollowed(tree, path) is not None), None)
    return found is not None and not _masks(tree, found)


def _masks(tree: Tree, path: str) -> bool:
    """Tell whether the file at `path` masks a unit: a link to /dev/null, or empty (systemd.unit(5))."""
    entry = unfollowed(tree, path)
    if entry is None or entry.kind is Kind.DIRECTORY:
        return False
    if entry.kind is Kind.LINK:
        return files.resolve(tree, path) == "/dev/null"
    return entry.size == 0
