"""dpkg: the packages in dpkg's status file, which is text."""

from __future__ import annotations

from collections.abc import Iterator

from imgfix import tree as guest
from imgfix.facts.model import Package
from imgfix.tree import Tree

STATUS = "/var/lib/dpkg/status"

#: One file a package, without a Status field: https://github.com/GoogleContainerTools/distroless
STATUS_FOLDER = "/var/lib/dpkg/status.d"

#: The third word of Status (dpkg-query(1)) for packages that are unpacked and configured. The first two are
#: what is wanted (install, hold, deinstall) and whether a reinstallation is required.
INSTALLED = frozenset({"installed", "triggers-pending", "triggers-awaited"})


def read_dpkg(tree: Tree) -> tuple[Package, ...]:
    """Return the installed packages by name; empty where dpkg has no database."""
    texts = [guest.read_text(tree, path) for path in _files(tree)]
    return tuple(sorted({package for text in texts for package in parse(text)}, key=_order))


def parse(text: str) -> Iterator[Package]:
    """Yield the installed packages of one status file; a stanza without Status counts as installed."""
    for fields in _stanzas(text):
        state = fields.get("status", "install ok installed").split()
        if state and state[-1] in INSTALLED:
            yield Package(fields["package"], without_epoch(fields.get("version", "")))


def read_stanzas(tree: Tree) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the file and the fields of each package that dpkg knows, installed or not; names in lower case."""
    for path in _files(tree):
        for fields in _stanzas(guest.read_text(tree, path)):
            yield path, fields


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    found = (fields_of(stanza) for stanza in text.split("\n\n"))
    return (fields for fields in found if "package" in fields)


def without_epoch(version: str) -> str:
    """Return `version` without the number before the first colon (deb-version(7))."""
    epoch, colon, rest = version.partition(":")
    return rest if colon and epoch.isdigit() else version


def _files(tree: Tree) -> list[str]:
    names = guest.names(tree, STATUS_FOLDER)
    paths = [STATUS, *(f"{STATUS_FOLDER}/{name}" for name in names if not name.endswith(".md5sums"))]
    return [path for path in paths if guest.is_file(tree, path)]


def fields_of(stanza: str) -> dict[str, str]:
    """Return the fields of a stanza, names in lower case; lines that continue one are joined to it by a space."""
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.split("\n"):
        if not line.startswith((" ", "\t")):
            name, colon, value = line.partition(":")
            name = name.strip().lower() if colon else ""
            fields[name] = value.strip()
        elif name:
            fields[name] += f" {line.strip()}"
    fields.pop("", None)
    return fields


def _order(package: Package) -> tuple[str, str]:
    return package.name, package.version
