"""The differential test: what imgfix converts, read by three readers that are not imgfix's.

The slice of it in the fast tests is `SLICE`; scripts/bench/differential runs all of `CASES`.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyvhdi
from dissect.hypervisor.disk.vhd import VHD

from imgfix import conversion
from imgfix.disk.sparse import data_extents
from imgfix.progress import Progress
from tests.disk.disks import MIB, run
from tests.disk.images import KINDS, PATTERNS, image, raw_disk

GIB = 1 << 30
#: qemu opens no VHD above this (block/vpc.c, VHD_MAX_SECTORS).
QEMU_MOST = 2040 * GIB
#: The largest geometry: 65535 cylinders, 16 heads, 255 sectors.
CHS_MOST = 65535 * 16 * 255 * 512

#: Whole MiB, one sector less and more, one MiB less; the smallest upload; the steps of the geometry (17, 31, 63 and 255
#: sectors a track).
SMALL = (512, MIB - 512, MIB, MIB + 512, 20 * MIB - 512, 20 * MIB, 20 * MIB + 512, 33 * MIB)
#: Only a raw file has half sectors.
ODD = (MIB + 1, 20 * MIB - 1, 33 * MIB + 511)
#: 127 GiB, the largest geometry, the 1,023 GiB of the guide, the limits of VHD, Generation 1 and Generation 2.
LARGE = (
    504 * MIB, 504 * MIB + 512, 127 * GIB, CHS_MOST - 512, CHS_MOST, CHS_MOST + 512, 1023 * GIB, 1023 * GIB + 512,
    QEMU_MOST - MIB, QEMU_MOST, 2048 * GIB, 2048 * GIB + MIB, 4095 * GIB,
)  # fmt: skip
#: Kinds that keep a large empty disk small, and what each of them can hold.
LARGE_KINDS = {
    "raw": 16 << 40, "vhd-fixed": QEMU_MOST, "vhd-dynamic": QEMU_MOST, "qcow2": 16 << 40, "vhdx": 16 << 40,
    "vdi": 16 << 40, "vmdk": 16 << 40, "ova": 1023 * GIB,
}  # fmt: skip
_WINDOW = 64 << 10


@dataclass(frozen=True, slots=True)
class Case:
    """An image of `kind`, of a disk of `size` bytes with data after `pattern`."""

    kind: str
    size: int
    pattern: str

    def __str__(self) -> str:
        return f"{self.kind}-{self.size}-{self.pattern}"


def _cases() -> Iterator[Case]:
    patterns = tuple(PATTERNS)
    for row, kind in enumerate(KINDS):
        for column, size in enumerate(SMALL):
            yield Case(kind, size, patterns[(row + column) % len(patterns)])
    for size in ODD:
        for pattern in ("edges", "random"):
            yield Case("raw", size, pattern)
    for row, (kind, most) in enumerate(LARGE_KINDS.items()):
        for column, size in enumerate(LARGE):
            if size <= most:
                # What is random in a large disk is all over it: a grain or a block each.
                yield Case(kind, size, ("edges", "islands", "random")[(row + column) % 3])


CASES = tuple(_cases())
#: Each kind once, with all patterns, and each boundary of sizes once.
SLICE = (
    *(CASES[row * len(SMALL) + row % len(SMALL)] for row in range(len(KINDS))),
    Case("raw", MIB + 1, "edges"),
    Case("qcow2", CHS_MOST + 512, "islands"),
    Case("vhd-dynamic", QEMU_MOST, "edges"),
    Case("raw", 4095 * GIB, "islands"),
)


class Reader(Protocol):
    """A reader of VHDs: the size, and bytes."""

    size: int

    def read(self, offset: int, length: int) -> bytes: ...


class Libvhdi:
    """libyal's reader."""

    def __init__(self, path: Path) -> None:
        self._file = pyvhdi.file()
        self._file.open(str(path))
        self.size = int(self._file.get_media_size())

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self._file.read_buffer_at_offset(length, offset))


class Dissect:
    """Fox-IT's reader."""

    def __init__(self, path: Path) -> None:
        self._disk = VHD(path.open("rb"))
        self.size = int(self._disk.size)

    def read(self, offset: int, length: int) -> bytes:
        self._disk.seek(offset)
        return bytes(self._disk.read(length))


def check(case: Case, folder: Path) -> None:
    """Make the image, convert it, read it back; fails by assertion. Leaves nothing in `folder`."""
    raw = raw_disk(folder / "disk.raw", case.size, case.pattern)
    out = folder / "out.vhd"
    conversion.convert(image(case.kind, raw, folder / "in.img"), out, Progress(), {})
    size = -(-case.size // MIB) * MIB
    os.truncate(raw, size)
    assert out.stat().st_size == size + 512
    _check_qemu(raw, out, size)
    with raw.open("rb") as stream:
        for reader in (Libvhdi(out), Dissect(out)):
            assert reader.size == size, f"{case}: {reader}"
            for offset, length in _windows(stream.fileno(), size):
                assert reader.read(offset, length) == os.pread(stream.fileno(), length, offset), (
                    case,
                    reader,
                )
    _check_holes(raw, out)
    for path in folder.iterdir():
        path.unlink()


def _check_qemu(raw: Path, out: Path, size: int) -> None:
    if size <= QEMU_MOST:
        said = run("qemu-img", "compare", "-f", "raw", "-F", "vpc", raw, out)
    else:
        # Its driver refuses VHDs this large; the bytes before the footer are the disk.
        node = f"driver=raw,size={size},file.driver=file,file.filename={out}"
        left = f"driver=raw,file.driver=file,file.filename={raw}"
        said = run("qemu-img", "compare", "--image-opts", left, node)
    # Another size would be a warning before this.
    assert said == "Images are identical.\n"


def _windows(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """All of a small disk; of a large one all data, what is around it, and both ends."""
    if size <= 64 * MIB:
        yield from ((offset, min(MIB, size - offset)) for offset in range(0, size, MIB))
        return
    yield from ((0, _WINDOW), (size // 2, _WINDOW), (size - _WINDOW, _WINDOW))
    for extent in data_extents(fd, size):
        start, end = max(0, extent.start - _WINDOW), min(size, extent.end + _WINDOW)
        yield from ((at, min(_WINDOW, end - at)) for at in range(start, end, _WINDOW))


def _check_holes(raw: Path, out: Path) -> None:
    """Holes stay holes; the footer and the file system's own blocks are allowed for."""
    assert out.stat().st_blocks <= raw.stat().st_blocks + 2048 + raw.stat().st_blocks // 8


def main() -> None:
    """Run all of CASES in a folder of its own below the one that is named; print what failed and the sum."""
    failed = 0
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="imgfix-differential-", dir=sys.argv[1]) as name:
        for number, case in enumerate(CASES, start=1):
            try:
                check(case, Path(name))
            except Exception as error:
                failed += 1
                print(f"{case}: {type(error).__name__}: {error}", flush=True)
                for path in Path(name).iterdir():
                    path.unlink()
            if number % 50 == 0:
                print(f"{number} of {len(CASES)} images, {time.monotonic() - started:.0f} s", flush=True)
    kinds = len({case.kind for case in CASES})
    sizes = len({case.size for case in CASES})
    print(f"{len(CASES)} images of {kinds} kinds and {sizes} sizes, three readers: {failed} differ")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
