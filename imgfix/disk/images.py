"""From the bytes of an image to its layout, and to the words that make QEMU read it just so and no other way. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from imgfix.disk import dynamic_vhd, ova, qcow2, vdi, vhdx, vmdk
from imgfix.disk.formats import HEAD, Format, identify
from imgfix.disk.layout import File, Layout, Run
from imgfix.disk.sector import SECTOR, ReadAt
from imgfix.disk.vhd import FOOTER_SIZE, Footer
from imgfix.errors import ImageError

IMAGES = frozenset((Format.DYNAMIC_VHD, Format.VHDX, Format.QCOW2, Format.VMDK, Format.VDI, Format.OVA))

#: Name of a file beside the image -> its bytes.
Beside = Callable[[str], File]

_Option = str | int | None


@dataclass(frozen=True, slots=True)
class Node:
    """A block node of QEMU: a driver, its options, and the node under it.

    Every driver is named, so QEMU probes nothing
    (https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html, BlockdevOptions).
    """

    driver: str
    options: Mapping[str, _Option]
    file: Node | None = None

    @classmethod
    def of_file(cls, path: Path) -> Node:
        """The node of a file of the host; its path is absolute."""
        return cls("file", {"filename": str(path)})

    def over(self, driver: str, options: Mapping[str, _Option]) -> Node:
        """A node above this one."""
        return Node(driver, options, self)

    @property
    def name(self) -> str:
        """The file name by which qemu-img takes a whole node."""
        return f"json:{json.dumps(self._plain(), ensure_ascii=False)}"

    def _plain(self) -> dict[str, object]:
        below = {"file": self.file._plain()} if self.file else {}
        return {"driver": self.driver, **self.options, **below}


@dataclass(frozen=True, slots=True)
class Image:
    """How QEMU is to read a disk, and the bytes of the guest that its file holds or more; see Layout."""

    node: Node
    allocated: int
    packed: bool = False


@dataclass(frozen=True, slots=True)
class Opened:
    """A disk while its files are open: `size` bytes of the guest, read by `read_at`."""

    size: int
    read_at: ReadAt
    image: Image | None = None
    footer: Footer | None = None
    notes: tuple[str, ...] = ()
    runs: Callable[[], Iterator[Run]] | None = None


#: QEMU's drivers. `backing` null: not even a name that appears after imgfix has looked is followed. Without
#: force_size_calc QEMU takes some creators' sizes from the geometry, and cuts the disk short (block/vpc.c, vpc_open).
_DRIVERS: Mapping[Format, tuple[str, Mapping[str, _Option]]] = {
    Format.DYNAMIC_VHD: ("vpc", {"force_size_calc": "current_size"}),
    Format.VHDX: ("vhdx", {}),
    Format.QCOW2: ("qcow2", {"backing": None}),
    Format.VMDK: ("vmdk", {"backing": None}),
    Format.VDI: ("vdi", {}),
}


def open_image(kind: Format, file: File, node: Node, beside: Beside) -> Opened:
    """Read the tables of an image of the format `kind`, one of IMAGES; `node` is its file to QEMU.

    Raises ImageError for what depends on other files, is encrypted, damaged or truncated.
    """
    if kind is Format.OVA:
        return _open_ova(file, node)
    footer = None
    if kind is Format.DYNAMIC_VHD:
        layout, footer = dynamic_vhd.layout(file)
    elif kind is Format.VMDK:
        layout = vmdk.layout(file, beside)
    else:
        layout = _LAYOUTS[kind](file)
    driver, options = _DRIVERS[kind]
    image = Image(node.over(driver, options), layout.allocated, layout.packed)
    return Opened(layout.size, layout.read_at, image, footer, layout.notes, layout.runs)


_LAYOUTS: Mapping[Format, Callable[[File], Layout]] = {
    Format.VHDX: vhdx.layout,
    Format.QCOW2: qcow2.layout,
    Format.VDI: vdi.layout,
}


def _open_ova(file: File, node: Node) -> Opened:
    found = ova.read_ova(file)
    disk = ova.part(file, found.disk)
    # QEMU reads the disk where it is in the archive: nothing is unpacked.
    within = node.over("raw", {"offset": found.disk.offset, "size": _whole(disk.size)})
    file.require(found.disk.offset + _whole(disk.size), f"{found.disk.name!r} in it")
    try:
        opened = _open_member(disk, within)
    except ImageError as error:
        raise ImageError(f"its disk {found.disk.name!r}: {error.message}", hint=error.hint) from error
    return Opened(opened.size, opened.read_at, opened.image, opened.footer, (*found.notes, *opened.notes))


def _open_member(disk: File, within: Node) -> Opened:
    if disk.size < SECTOR:
        raise ImageError(f"it has {disk.size} bytes, not even one sector")
    identity = identify(disk.read_at(0, HEAD), disk.read_at(disk.size - FOOTER_SIZE, FOOTER_SIZE), disk.size)
    if identity.format in _DRIVERS:
        return open_image(identity.format, disk, within, _nothing_beside)
    if identity.format not in (Format.RAW, Format.FIXED_VHD):
        raise ImageError(f"this is a {identity.format.value}", hint="unpack it first: tar -xf IN")
    size = disk.size - (FOOTER_SIZE if identity.footer else 0)
    assert within.file is not None
    node = within.file.over("raw", {**within.options, "size": _whole(size)})
    return Opened(size, disk.read_at, Image(node, size), identity.footer)


def _whole(size: int) -> int:
    """Whole sectors, which is what QEMU wants; a tar is padded to them."""
    return -(-size // SECTOR) * SECTOR


def _nothing_beside(name: str) -> File:
    raise ImageError(
        f"its disk is in several files, of which {name!r} is one",
        hint="unpack it, and name the descriptor: tar -xf IN",
    )
