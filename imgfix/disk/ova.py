"""OVA: a tar of an OVF description, disks, and a manifest of their checksums.

DSP0243: https://www.dmtf.org/sites/default/files/standards/documents/DSP0243_2.1.1.pdf
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote
from xml.etree import ElementTree

from imgfix.disk.layout import AGAIN, File
from imgfix.disk.sector import ReadAt
from imgfix.errors import ImageError

_MAX_TEXT = 4 << 20
_MAX_MEMBERS = 1000
_BLOCK = 1 << 20
#: `SHA256(disk.vmdk)= 0123...`, with or without a blank in front of the parenthesis or the digest.
_ROW = re.compile(r"(SHA1|SHA256|SHA512) ?\((.+)\) ?= ?([0-9a-fA-F]+)")
_UNPACK = "unpack it and name the disk that has the system: tar -xf IN"


@dataclass(frozen=True, slots=True)
class Member:
    """A file in the archive; `offset` and `size` in bytes."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Appliance:
    """What is in an OVA: its one disk, and what is to be said of it."""

    disk: Member
    notes: tuple[str, ...]


def read_ova(file: File) -> Appliance:
    """Find the disk of an OVA, and hold every file of it against the manifest.

    Raises ImageError for an archive without a description or with more than one disk, a compressed or cut disk, a
    checksum that does not hold, and what is damaged or truncated.
    """
    members = _members(file)
    descriptions = [name for name in members if name.lower().endswith(".ovf")]
    if len(descriptions) != 1:
        raise ImageError(
            f"a tar archive with {len(descriptions)} OVF descriptions in it is no OVA", hint=_UNPACK
        )
    disk = _disk(file, members, members[descriptions[0]])
    manifests = [name for name in members if name.lower().endswith(".mf")]
    if not manifests:
        return Appliance(
            disk, (f"the disk is {disk.name}", "there is no manifest in the OVA to check its files by")
        )
    for name in manifests:
        _check(file, members, name, needed=(descriptions[0], disk.name))
    return Appliance(disk, (f"the disk is {disk.name}", f"its files are as the manifest {manifests[0]} says"))


def part(file: File, member: Member) -> File:
    """Return a member as a file of its own."""

    def read_at(offset: int, length: int) -> bytes:
        return file.read_at(member.offset + offset, max(0, min(length, member.size - offset)))

    return File(read_at, member.size)


def _members(file: File) -> Mapping[str, Member]:
    found: dict[str, Member] = {}
    try:
        with tarfile.open(fileobj=_Stream(file.read_at, file.size), mode="r:") as archive:
            for entry in archive:
                if len(found) == _MAX_MEMBERS:
                    raise ImageError(f"more than {_MAX_MEMBERS} files in it: this is no OVA", hint=_UNPACK)
                if not entry.isreg():
                    continue
                if entry.issparse() or entry.name in found:
                    raise ImageError(
                        f"{entry.name!r} is in it twice, or in pieces: this is no OVA", hint=_UNPACK
                    )
                file.require(entry.offset_data + entry.size, f"{entry.name!r} in it")
                found[entry.name] = Member(entry.name, entry.offset_data, entry.size)
    # tarfile lets what int() and decode() say of a hostile header through.
    except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
        raise ImageError(f"damaged: the archive cannot be read: {error}", hint=AGAIN) from error
    return found


class _Stream(io.RawIOBase):
    """A ReadAt as the file object that tarfile wants."""

    def __init__(self, read_at: ReadAt, size: int) -> None:
        super().__init__()
        self._read_at, self._size, self._at = read_at, size, 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It can be sought in."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a byte; see io.IOBase."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def tell(self) -> int:
        """Return where it is."""
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read into a buffer; see io.RawIOBase."""
        data = self._read_at(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _text(file: File, member: Member) -> str:
    if member.size > _MAX_TEXT:
        raise ImageError(f"{member.name!r} in it has {member.size} bytes, {_MAX_TEXT} at most are read")
    try:
        return file.exactly(member.offset, member.size, f"{member.name!r} in it").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ImageError(f"damaged: {member.name!r} in it is no text in UTF-8", hint=AGAIN) from error


def _disk(file: File, members: Mapping[str, Member], description: Member) -> Member:
    root = _parse(_text(file, description), description.name)
    references = {_get(one, "id"): one for one in root.iter() if _tag(one) == "File"}
    wanted = [_get(one, "fileRef") for one in root.iter() if _tag(one) == "Disk" and _get(one, "fileRef")]
    names = [unquote(_get(references[key], "href")) for key in dict.fromkeys(wanted) if key in references]
    if len(names) != 1:
        listed = f": {', '.join(map(repr, names))}" if names else ""
        raise ImageError(f"{len(names)} disks in it, one expected{listed}", hint=_UNPACK)
    reference = references[wanted[0]]
    if _get(reference, "compression") not in ("", "identity") or _get(reference, "chunkSize"):
        raise ImageError(f"its disk {names[0]!r} is compressed or in pieces", hint=_UNPACK)
    if names[0] not in members:
        raise ImageError(
            f"damaged: its description names the disk {names[0]!r}, which is not in it", hint=AGAIN
        )
    size = _get(reference, "size")
    disk = members[names[0]]
    if size.isdecimal() and int(size) != disk.size:
        raise ImageError(
            f"damaged: its disk {disk.name!r} has {disk.size} bytes, and the description says {size}",
            hint=AGAIN,
        )
    return disk


def _parse(text: str, name: str) -> ElementTree.Element:
    # An OVF needs no entities, and entities are what makes XML dangerous.
    if "<!" in re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL):
        raise ImageError(f"{name!r} in it has a document type or entities, which imgfix does not expand")
    try:
        return ElementTree.fromstring(text)  # noqa: S314 # see above
    except (ElementTree.ParseError, ValueError) as error:
        raise ImageError(f"damaged: {name!r} in it is no XML: {error}", hint=AGAIN) from error


def _tag(element: ElementTree.Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _get(element: ElementTree.Element, name: str) -> str:
    """An attribute, whatever version of the name space it is in."""
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), "")


def _check(file: File, members: Mapping[str, Member], manifest: str, *, needed: tuple[str, ...]) -> None:
    named = set()
    for line in filter(None, map(str.strip, _text(file, members[manifest]).splitlines())):
        row = _ROW.fullmatch(line)
        if not row:
            raise ImageError(f"a line of {manifest!r} in it cannot be understood: {line[:80]!r}")
        algorithm, name, wanted = row.groups()
        if name not in members:
            raise ImageError(f"{manifest!r} in it names {name!r}, which is not in it", hint=AGAIN)
        found = _digest(file, members[name], algorithm)
        if found != wanted.lower():
            raise ImageError(
                f"{name!r} in it is not what its manifest says: {algorithm} {found}, {wanted.lower()} expected",
                hint=AGAIN,
            )
        named.add(name)
    left = [name for name in needed if name not in named]
    if left:
        raise ImageError(f"{manifest!r} in it says nothing of {', '.join(map(repr, left))}", hint=AGAIN)


def _digest(file: File, member: Member, algorithm: str) -> str:
    digest = hashlib.new(algorithm.lower(), usedforsecurity=False)
    for offset in range(0, member.size, _BLOCK):
        digest.update(file.read_at(member.offset + offset, min(_BLOCK, member.size - offset)))
    return digest.hexdigest()
