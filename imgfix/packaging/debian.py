"""debian: packages as dpkg's status file and .deb files describe them.

https://www.debian.org/doc/debian-policy/ch-relationships.html, deb(5), deb-control(5)
"""

from __future__ import annotations

import io
import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from imgfix.errors import GuestError
from imgfix.facts import compression, dpkg
from imgfix.facts.source import CHUNK, Source
from imgfix.packaging.model import AnyOf, Need, Package, Relation, System
from imgfix.packaging.versions import deb_key
from imgfix.tree import Tree

#: Bytes that the control part of a package may unpack to; scripts and checksums of a large one are some MiB.
CONTROL_LIMIT = 64 << 20

_AR_MAGIC, _AR_HEADER, _AR_END = b"!<arch>\n", 60, b"`\n"

#: `<` and `>` are what `<=` and `>=` were called (deb-control(5)).
_OPERATORS = {"<": "<=", ">": ">=", "": ""}
_RELATION = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9+._-]*)(:(?P<arch>[a-z0-9-]+))?"
    r"(\s*\(\s*(?P<operator><<|<=|=|>=|>>|<|>)\s*(?P<version>[^\s()<>=]+)\s*\))?"
)

#: States of a package that dpkg finishes with `--configure -a`, and in which it installs nothing else well.
_UNFINISHED = frozenset({"half-installed", "unpacked", "half-configured"})


@dataclass(frozen=True, slots=True)
class Dpkg:
    """dpkg's rules in a guest of one architecture."""

    architecture: str

    def sorts_after(self, version: str, other: str) -> bool:
        """See Dialect.sorts_after."""
        return deb_key(version) > deb_key(other)

    def meets(self, provided: Relation, needed: Relation) -> bool:
        """See Dialect.meets: a name provided without a version meets no need of a version."""
        if not needed.operator:
            return True
        if not provided.operator:
            return False
        have, want = deb_key(provided.version), deb_key(needed.version)
        return {
            "<<": have < want,
            "<=": have <= want,
            "=": have == want,
            ">=": have >= want,
            ">>": have > want,
        }[needed.operator]

    def fits(self, package: Package) -> bool:
        """See Dialect.fits."""
        return package.architecture in ("all", self.architecture)

    def replaces(self, new: Package, old: Package) -> bool:
        """See Dialect.replaces: packages of a foreign architecture stay beside the guest's own."""
        return self.fits(old)

    def serves(self, package: Package, needed: Relation) -> bool:
        """See Dialect.serves."""
        if needed.architecture in ("", "native"):
            return package.shared or self.fits(package)
        return needed.architecture in ("any", package.architecture)

    def granted(self, needed: Relation) -> bool:
        """See Dialect.granted: dpkg itself is a package."""
        return False


def parse_needs(text: str, where: str) -> tuple[Need, ...]:
    """Return what a field such as Depends asks for; raises GuestError, naming `where`, on what it cannot read."""
    clauses = (clause.split("|") for clause in text.split(",") if clause.strip())
    found = [tuple(_relation(word, where) for word in clause) for clause in clauses]
    return tuple(clause[0] if len(clause) == 1 else AnyOf(clause) for clause in found)


def parse_relations(text: str, where: str) -> tuple[Relation, ...]:
    """Return the relations of a field without alternatives, such as Provides and Conflicts."""
    return tuple(_relation(word, where) for word in text.split(",") if word.strip())


def _relation(word: str, where: str) -> Relation:
    found = _RELATION.fullmatch(word.strip())
    if found is None:
        raise GuestError(f"{where}: {word.strip()!r} is no relation to a package")
    operator = found["operator"] or ""
    return Relation(
        found["name"], _OPERATORS.get(operator, operator), found["version"] or "", found["arch"] or ""
    )


def package(fields: Mapping[str, str], where: str, file: str = "") -> Package:
    """Return the package of one control stanza, its field names in lower case; raises GuestError."""
    for name in ("package", "version", "architecture"):
        if not fields.get(name):
            raise GuestError(f"{where}: a package without {name.capitalize()}")
    size = fields.get("installed-size", "0")
    return Package(
        name=fields["package"],
        version=fields["version"],
        architecture=fields["architecture"],
        needs=parse_needs(fields.get("depends", ""), where),
        first=parse_needs(fields.get("pre-depends", ""), where),
        provides=parse_relations(fields.get("provides", ""), where),
        conflicts=(
            *parse_relations(fields.get("conflicts", ""), where),
            *parse_relations(fields.get("breaks", ""), where),
        ),
        size=int(size) * 1024 if size.isdecimal() and len(size) < 16 else 0,
        essential="yes" in (fields.get("essential"), fields.get("protected")),
        shared=fields.get("multi-arch") == "foreign",
        file=file,
    )


def read_system(tree: Tree) -> System | None:
    """Return what dpkg has installed in the guest, or None where it has installed nothing."""
    installed: list[Package] = []
    unfinished: list[str] = []
    for path, fields in dpkg.read_stanzas(tree):
        state = fields.get("status", "install ok installed").split()[-1:]
        if state and state[0] in _UNFINISHED:
            unfinished.append(fields.get("package", "?"))
        elif state and state[0] in dpkg.INSTALLED:
            installed.append(package(fields, path))
    if not installed:
        return None
    counted = Counter(p.architecture for p in installed if p.architecture != "all")
    named = [p.architecture for p in installed if p.name == "dpkg"]
    architecture = (named or [name for name, _ in counted.most_common(1)] or ["all"])[0]
    return System(Dpkg(architecture), tuple(installed), architecture, tuple(unfinished))


def read_deb(stream: BinaryIO, name: str) -> Package:
    """Return the package in the .deb file `name`; raises GuestError for one that is damaged or cut short."""
    control = ""
    for member, data in _members(stream, name):
        if member.startswith("control.tar"):
            control = _control_file(data, name)
    if not control:
        raise GuestError(f"{name}: damaged package (no control file)")
    return package(dpkg.fields_of(control), name, file=name)


def _members(stream: BinaryIO, name: str) -> Iterator[tuple[str, bytes]]:
    """Yield the members of the ar archive, with the content of the small ones only; all must be whole."""
    end = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    if stream.read(len(_AR_MAGIC)) != _AR_MAGIC:
        raise GuestError(f"{name}: no Debian package (it does not begin as an ar archive does)")
    at = len(_AR_MAGIC)
    while at < end:
        stream.seek(at)
        header = stream.read(_AR_HEADER)
        digits = header[48:58].strip()
        if len(header) < _AR_HEADER or header[58:] != _AR_END or not digits.isdigit():
            raise GuestError(f"{name}: damaged package (no archive member at byte {at})")
        size, at = int(digits), at + _AR_HEADER
        if at + size > end:
            raise GuestError(f"{name}: truncated package: {at + size} bytes needed, {end} found")
        member = header[:16].rstrip(b" ").rstrip(b"/").decode(errors="replace")
        yield member, stream.read(min(size, CONTROL_LIMIT)) if member.startswith("control") else b""
        at += size + size % 2


def _control_file(data: bytes, name: str) -> str:
    packed = compression.detect(data[: compression.MAGIC_SIZE])
    if packed is not None:
        chunks = (data[at : at + CHUNK] for at in range(0, len(data), CHUNK))
        unpacked = compression.unpack(packed, Source(chunks, name, len(data)))
        data = b"".join(_bounded(unpacked, name))
    try:
        with tarfile.TarFile(fileobj=io.BytesIO(data)) as archive:
            for entry in archive:
                if entry.name in ("./control", "control", "/control") and entry.isfile():
                    found = archive.extractfile(entry)
                    return found.read().decode("utf-8", "replace") if found else ""
    except (tarfile.TarError, OSError, ValueError) as error:
        raise GuestError(f"{name}: damaged package ({error})") from error
    return ""


def _bounded(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > CONTROL_LIMIT:
            raise GuestError(f"{name}: damaged package (more than {CONTROL_LIMIT} bytes of control files)")
        yield chunk
