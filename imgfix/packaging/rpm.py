"""rpm: packages as rpm's database and .rpm files describe them.

https://rpm-software-management.github.io/rpm/manual/format_v4.html
"""

from __future__ import annotations

import io
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from imgfix import tree as guest
from imgfix.errors import GuestError
from imgfix.facts import rpmheader
from imgfix.facts.rpmdb import read_headers
from imgfix.facts.rpmheader import NAME, RELEASE, VERSION, Tags
from imgfix.packaging import richdeps
from imgfix.packaging.model import Need, Package, Relation, System
from imgfix.packaging.versions import evr_key, parse_evr, rpm_key
from imgfix.tree import Tree

#: https://github.com/rpm-software-management/rpm/blob/master/include/rpm/rpmtag.h
_EPOCH, _SIZE, _ARCH, _SOURCE_RPM, _SOURCE_PACKAGE, _LONG_SIZE = 1003, 1009, 1022, 1044, 1106, 5009
_OLD_FILES, _DIR_INDEXES, _BASE_NAMES, _DIR_NAMES = 1027, 1116, 1117, 1118
#: Names, flags and versions of each kind of relation.
_REQUIRES, _CONFLICTS = (1049, 1048, 1050), (1054, 1053, 1055)
_PROVIDES, _OBSOLETES = (1047, 1112, 1113), (1090, 1114, 1115)
_TAGS = frozenset(
    (
        *(NAME, VERSION, RELEASE, _EPOCH, _SIZE, _ARCH, _SOURCE_RPM, _SOURCE_PACKAGE, _LONG_SIZE),
        *(_OLD_FILES, _DIR_INDEXES, _BASE_NAMES, _DIR_NAMES),
        *(*_REQUIRES, *_CONFLICTS, *_PROVIDES, *_OBSOLETES),
    )
)

#: https://github.com/rpm-software-management/rpm/blob/master/include/rpm/rpmds.h
_LESS, _GREATER, _EQUAL, _MISSING_OK = 1 << 1, 1 << 2, 1 << 3, 1 << 19
_OPERATORS = {
    _LESS: "<<",
    _LESS | _EQUAL: "<=",
    _EQUAL: "=",
    _GREATER | _EQUAL: ">=",
    _GREATER: ">>",
}
_SENSES = {operator: sense for sense, operator in _OPERATORS.items()}

#: What a guest runs besides packages of its own architecture (arch_compat in rpm's rpmrc).
_COMPATIBLE: dict[str, tuple[str, ...]] = {
    "x86_64_v2": ("x86_64",),
    "x86_64_v3": ("x86_64_v2", "x86_64"),
    "i686": ("i586", "i486", "i386"),
}

#: Kernels stay beside each other (installonlypkgs of dnf.conf(5), multiversion of zypp.conf).
_PARALLEL_PROVIDES = frozenset(
    {"installonlypkg(kernel)", "multiversion(kernel)", "installonlypkg(kernel-module)"}
)
_PARALLEL = frozenset(
    {"kernel", "kernel-core", "kernel-modules", "kernel-uek", "kernel-default", "kernel-devel"}
)

#: rpmlib(FEATURE) names the version of rpm that brought it, except for compressors, which name their own.
_FEATURES = {"rpmlib(PayloadIsXz)": "4.7", "rpmlib(PayloadIsZstd)": "4.14"}

_LEAD, _LEAD_MAGIC = 96, b"\xed\xab\xee\xdb"
_HEADER_MAGIC = b"\x8e\xad\xe8\x01"
#: Bytes of one header; rpm allows 256 MiB, the largest known ones have some 20.
_HEADER_LIMIT = 64 << 20
#: Bytes of main header and payload, in the signature header: 32 and 64 bits.
_SIGNED_SIZE, _LONG_SIGNED_SIZE = 1000, 270


@dataclass(frozen=True, slots=True)
class Rpm:
    """rpm's rules in a guest of one architecture, with its own `version` of rpm (empty: not known)."""

    architecture: str
    version: str = ""

    def sorts_after(self, version: str, other: str) -> bool:
        """See Dialect.sorts_after."""
        return evr_key(version) > evr_key(other)

    def meets(self, provided: Relation, needed: Relation) -> bool:
        """See Dialect.meets: two ranges of versions overlap.

        https://github.com/rpm-software-management/rpm/blob/master/rpmio/rpmver.cc, rpmverOverlap
        """
        if not (provided.operator and provided.version and needed.operator and needed.version):
            return True
        one, other = _SENSES[provided.operator], _SENSES[needed.operator]
        order = _order(provided.version, needed.version)
        if order is None:  # the one without a release means all of them
            with_release = bool(parse_evr(provided.version)[2])
            if (other if with_release else one) & _EQUAL:
                return True
            order = 0
        if order < 0:
            return bool(one & _GREATER or other & _LESS)
        if order > 0:
            return bool(one & _LESS or other & _GREATER)
        return bool(one & other)

    def fits(self, package: Package) -> bool:
        """See Dialect.fits."""
        return package.architecture in (
            "noarch",
            self.architecture,
            *_COMPATIBLE.get(self.architecture, ()),
        )

    def replaces(self, new: Package, old: Package) -> bool:
        """See Dialect.replaces: two architectures of a library stay beside each other."""
        same = old.architecture == new.architecture or "noarch" in (old.architecture, new.architecture)
        return same and not new.parallel

    def serves(self, package: Package, needed: Relation) -> bool:
        """See Dialect.serves: rpm puts the architecture into the name, libc.so.6()(64bit)."""
        return True

    def granted(self, needed: Relation) -> bool:
        """See Dialect.granted."""
        if not needed.name.startswith("rpmlib("):
            return False
        since = _FEATURES.get(needed.name, parse_evr(needed.version)[1])
        return not (self.version and since) or rpm_key(self.version) >= rpm_key(since)


def _order(version: str, other: str) -> int | None:
    """Compare two [EPOCH:]VERSION[-RELEASE]; None where they are equal but only one has a release."""
    epochs, versions, releases = zip(parse_evr(version), parse_evr(other), strict=True)
    for one, two in ((epochs[0] or "0", epochs[1] or "0"), versions):
        key, against = rpm_key(one), rpm_key(two)
        if key != against:
            return 1 if key > against else -1
    if not all(releases):
        return None if any(releases) else 0
    key, against = rpm_key(releases[0]), rpm_key(releases[1])
    return (key > against) - (key < against)


def package(tags: Tags, where: str, file: str = "") -> Package:
    """Return the package of one header; raises GuestError, naming `where`, on relations that cannot be read."""
    epoch = (*tags.numbers.get(_EPOCH, ()), 0)[0]
    parts = (tags.text(VERSION), tags.text(RELEASE))
    version = (f"{epoch}:" if epoch else "") + "-".join(part for part in parts if part)
    sizes = tags.numbers.get(_LONG_SIZE) or tags.numbers.get(_SIZE) or (0,)
    provides = tuple(_relations(tags, _PROVIDES))
    names = {relation.name for relation in provides}
    return Package(
        name=tags.text(NAME),
        version=version,
        architecture=tags.text(_ARCH),
        needs=tuple(_need(relation, where) for relation in _relations(tags, _REQUIRES)),
        provides=provides,
        # Boolean conflicts are left to rpm: it refuses them before it writes anything.
        conflicts=tuple(r for r in _relations(tags, _CONFLICTS) if not r.name.startswith("(")),
        obsoletes=tuple(_relations(tags, _OBSOLETES)),
        files=tuple(_files(tags, where)),
        size=sizes[0],
        parallel=tags.text(NAME) in _PARALLEL or bool(names & _PARALLEL_PROVIDES),
        file=file,
    )


def _relations(tags: Tags, kind: tuple[int, int, int]) -> Iterator[Relation]:
    """Yield the relations of one kind; one that may be missing is none (old weak dependencies)."""
    names = tags.texts.get(kind[0], ())
    flags = tags.numbers.get(kind[1], ()) + (0,) * len(names)
    versions = tags.texts.get(kind[2], ()) + ("",) * len(names)
    for name, flag, version in zip(names, flags, versions, strict=False):
        if not flag & _MISSING_OK:
            operator = _OPERATORS.get(flag & (_LESS | _GREATER | _EQUAL), "") if version else ""
            yield Relation(name, operator, version if operator else "")


def _need(relation: Relation, where: str) -> Need:
    if not relation.name.startswith("("):
        return relation
    try:
        return richdeps.parse(relation.name)
    except ValueError as error:
        raise GuestError(f"{where}: a boolean dependency that cannot be read: {error}") from error


def _files(tags: Tags, where: str) -> Iterator[str]:
    folders, indexes = tags.texts.get(_DIR_NAMES, ()), tags.numbers.get(_DIR_INDEXES, ())
    bases = tags.texts.get(_BASE_NAMES, ())
    if len(indexes) < len(bases) or any(index >= len(folders) for index in indexes):
        raise GuestError(f"{where}: damaged rpm header (files without a folder)")
    yield from tags.texts.get(_OLD_FILES, ())
    yield from (folders[index] + base for index, base in zip(indexes, bases, strict=False))


def read_system(tree: Tree) -> System | None:
    """Return what rpm has installed in the guest, or None where it has installed nothing."""
    installed = tuple(
        package(rpmheader.read_tags(blob, _TAGS, path), path) for path, blob in read_headers(tree)
    )
    if not installed:
        return None
    counted = Counter(p.architecture for p in installed if p.architecture not in ("noarch", ""))
    named = [p for p in installed if p.name == "rpm"]
    architecture = (
        [p.architecture for p in named] or [name for name, _ in counted.most_common(1)] or ["noarch"]
    )[0]
    version = parse_evr(named[0].version)[1] if named else ""
    return System(Rpm(architecture, version), installed, architecture)


def canonical(tree: Tree) -> dict[str, str]:
    """Return where the guest's folder links lead, as rpm sees files: /bin to /usr/bin where /usr is merged."""
    folders = ("/bin", "/sbin", "/lib", "/lib64", "/usr/sbin")
    return {folder: guest.resolve(tree, folder) for folder in folders}


def read_rpm(stream: BinaryIO, name: str) -> Package:
    """Return the package in the .rpm file `name`; raises GuestError for one that is damaged or cut short."""
    end = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    if stream.read(_LEAD)[: len(_LEAD_MAGIC)] != _LEAD_MAGIC:
        raise GuestError(f"{name}: no rpm package (it does not begin as one does)")
    signature = _header(stream, name)
    stream.seek(-stream.tell() % 8, io.SEEK_CUR)
    start = stream.tell()
    tags = rpmheader.read_tags(_header(stream, name), _TAGS, name)
    signed = rpmheader.read_unnamed(signature, (_SIGNED_SIZE, _LONG_SIGNED_SIZE), name).numbers
    size = (signed.get(_LONG_SIGNED_SIZE) or signed.get(_SIGNED_SIZE) or (0,))[0]
    if start + size > end:
        raise GuestError(f"{name}: truncated package: {start + size} bytes needed, {end} found")
    if _SOURCE_PACKAGE in tags.numbers or not tags.text(_SOURCE_RPM):
        return Package(tags.text(NAME), tags.text(VERSION), "src", file=name)
    return package(tags, name, file=name)


def _header(stream: BinaryIO, name: str) -> bytes:
    """Return the next header without its magic, counts included."""
    start = stream.read(16)
    if len(start) < 16 or not start.startswith(_HEADER_MAGIC):
        raise GuestError(f"{name}: damaged package (no header at byte {stream.tell() - len(start)})")
    try:
        size = rpmheader.size_of(start[8:])
    except struct.error as error:
        raise GuestError(f"{name}: damaged package ({error})") from error
    if size > _HEADER_LIMIT:
        raise GuestError(
            f"{name}: damaged package (a header of {size} bytes, at most {_HEADER_LIMIT} are read)"
        )
    blob = start[8:] + stream.read(size - 8)
    if len(blob) < size:
        raise GuestError(f"{name}: truncated package: a header of {size} bytes, {len(blob)} found")
    return blob
