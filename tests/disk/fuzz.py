"""The fuzz of everything that reads an untrusted image: a value, or an ImageError; never a crash, a hang, a guess.

The fast tests run each target a few hundred times; scripts/bench/fuzz runs each of them 100,000 times.
"""

from __future__ import annotations

import struct
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgfix.disk import dynamic_vhd, ova, qcow2, vdi, vhd, vhdx, vmdk
from imgfix.disk.formats import HEAD, NAMES, SIGNATURES, Format, identify, identify_as
from imgfix.disk.layout import File, Layout
from imgfix.disk.vmdk_descriptor import parse_descriptor
from imgfix.errors import ImageError
from tests.disk.disks import MIB
from tests.disk.images import image, raw_disk

FOOTER = vhd.fixed_footer(MIB, timestamp=1_700_000_000, unique_id=uuid.UUID(int=7))
_FULL = 100_000


def file_of(data: bytes) -> File:
    return File(lambda offset, length: data[offset : offset + max(length, 0)], len(data))


def signed(footer: bytes) -> bytes:
    return footer[:64] + struct.pack(">I", vhd.checksum(footer)) + footer[68:]


# A footer with fields of any value, the checksum right: what lies is not hidden by what is merely damaged.
fields = st.lists(
    st.tuples(
        st.sampled_from((0, 8, 12, 16, 24, 28, 32, 36, 40, 48, 56, 60, 68, 84)),
        st.binary(min_size=1, max_size=8),
    ),
    max_size=4,
)
sizes = st.one_of(
    st.just(MIB + 512), st.sampled_from((0, 511, 512, 1024, MIB, MIB + 511, MIB + 513)), st.integers(0, 2**64)
)


def footer_target(base: bytes, changes: list[tuple[int, bytes]], right: bool, file_size: int) -> None:
    data = bytearray(base)
    for offset, value in changes:
        data[offset : offset + len(value)] = value
    footer = bytes(data[:512])
    if right and len(footer) == 512:
        footer = signed(footer)
    with suppress(ImageError):
        read = vhd.parse_footer(footer, file_size)
        assert footer.startswith(vhd.COOKIE)
        assert struct.unpack_from(">I", footer, 64)[0] == vhd.checksum(footer)
        assert read.current_size == struct.unpack_from(">Q", footer, 48)[0]
        assert read.disk_type == struct.unpack_from(">I", footer, 60)[0] in (2, 3, 4)
        if read.disk_type is vhd.DiskType.FIXED:
            assert 0 < read.current_size == file_size - 512
            assert read.current_size % 512 == 0


footer_arguments = (
    st.one_of(st.just(FOOTER), st.binary(min_size=500, max_size=520), st.just(b"conectix" + bytes(504))),
    fields,
    st.booleans(),
    sizes,
)


def detector_target(start: bytes, body: bytes, table: bytes, end: bytes, name: str | None) -> None:
    head = (start + body).ljust(446, b"\0")
    data = head[:446] + table + head[446:] + end
    with suppress(ImageError):
        if name is None:
            found = identify(data[:HEAD], data[-512:], len(data))
            # No guess: what bears the mark of one format and the table of a disk is neither.
            marked = [row.format for row in SIGNATURES if data.startswith(row.magic, row.offset)]
            assert found.format in marked or found.footer is not None or not marked
        else:
            found = identify_as(name, data[-512:], len(data))
            assert found.format is NAMES[name] or found.footer is not None
        assert found.format in Format


_MBR = bytes((0x80, 0, 0, 0, 0x83, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0)) + bytes(48) + b"\x55\xaa"
detector_arguments = (
    st.sampled_from([b"", b"conectix", *(bytes(row.offset % 300) + row.magic for row in SIGNATURES)]),
    st.binary(max_size=1024),
    st.sampled_from((b"", _MBR, b"\x55\xaa")),
    st.one_of(
        st.sampled_from((b"", b"conectix", FOOTER, FOOTER[1:], FOOTER[:100])),
        st.binary(min_size=504, max_size=504).map(lambda rest: signed(b"conectix" + rest)),
    ),
    st.sampled_from((None, None, *NAMES)),
)


def _nothing(name: str) -> File:
    raise ImageError(name)


def _ova(file: File) -> Layout:
    found = ova.read_ova(file)
    assert found.disk.offset + found.disk.size <= file.size
    return Layout(found.disk.size, 0, ova.part(file, found.disk).read_at)


READERS: dict[str, Callable[[File], Layout]] = {
    "qcow2": qcow2.layout,
    "qcow2-v2": qcow2.layout,
    "qcow2-zstd": qcow2.layout,
    "qcow2-subclusters": qcow2.layout,
    "vhd-dynamic": lambda file: dynamic_vhd.layout(file)[0],
    "vhdx-small-blocks": vhdx.layout,
    "vdi": vdi.layout,
    "vmdk": lambda file: vmdk.layout(file, _nothing),
    "vmdk-stream-vmware": lambda file: vmdk.layout(file, _nothing),
    "vmdk-flat": lambda file: vmdk.layout(file, _nothing),
    "ova": _ova,
}


@lru_cache
def small(kind: str) -> bytes:
    """An image of a small disk, with data in it."""
    with tempfile.TemporaryDirectory() as name:
        raw = raw_disk(Path(name) / "d.raw", 2 * MIB, "edges")
        return image(kind, raw, Path(name) / "in.img").read_bytes()


@lru_cache
def interesting(kind: str) -> tuple[int, ...]:
    """Where an image is not zero: fields and tables, rarely data. Changes elsewhere change nothing that is read."""
    data = small(kind)
    return tuple(at for at in range(0, min(len(data), 4 * MIB), 4) if any(data[at : at + 4]))[:4096]


#: Values at which arithmetic goes wrong.
EXTREMES = tuple(
    value
    for bits in (8, 16, 32, 64)
    for number in (0, 1, 1 << (bits - 1), (1 << bits) - 1, (1 << bits) - 2)
    for value in (number.to_bytes(bits // 8, "big"), number.to_bytes(bits // 8, "little"))
)


def mutated(kind: str, changes: list[tuple[int, bytes]], cut: float) -> bytes:
    data = bytearray(small(kind))
    places = interesting(kind)
    for where, value in changes:
        at = places[where % len(places)] if where < 3 << 14 else where % 256
        data[at : at + len(value)] = value
    if kind.startswith("vhdx"):
        _sign_vhdx(data)
    if kind == "vhd-dynamic":
        footer = signed(bytes(data[:512]))
        data[:512] = data[-512:] = footer
        header = data[512:1536]
        header[36:40] = bytes(4)
        data[512:1536] = header[:36] + struct.pack(">I", ~sum(header) & 0xFFFF_FFFF) + header[40:]
    return bytes(data[: round(len(data) * cut)])


def _sign_vhdx(data: bytearray) -> None:
    """Right checksums let the fuzz get behind them; the region table's is costly, so its own is left alone."""
    for at in (64 << 10, 128 << 10):
        part = bytes(data[at : at + 4096])
        data[at + 4 : at + 8] = struct.pack("<I", vhdx.crc32c(part[:4] + bytes(4) + part[8:]))


def reader_target(kind: str, changes: list[tuple[int, bytes]], cut: float, offset: int) -> None:
    file = file_of(mutated(kind, changes, cut))
    with suppress(ImageError):
        found = READERS[kind](file)
        assert found.size > 0
        assert found.allocated >= 0
        for at in (0, offset % found.size, found.size - 1):
            assert len(found.read_at(at, 1024)) == min(1024, found.size - at) or kind == "ova"


reader_arguments = (
    st.sampled_from(tuple(READERS)),
    st.lists(
        st.tuples(
            st.integers(0, (1 << 16) - 1),
            st.one_of(st.sampled_from(EXTREMES), st.binary(min_size=1, max_size=8)),
        ),
        max_size=6,
    ),
    st.one_of(st.just(1.0), st.floats(0, 1)),
    st.integers(0, 1 << 62),
)


def descriptor_target(text: str) -> None:
    with suppress(ImageError):
        for extent in parse_descriptor(text.encode("utf-8", "surrogatepass")):
            assert not set("/\\:\n\r\0") & set(extent.name)
            assert extent.name not in ("", ".", "..")


_WORDS = (
    "RW", "RDONLY", "8", "FLAT", "SPARSE", "ZERO", '"flat.img"', '"../x"', '"/etc/shadow"', "0", "\n", "\r\n", "\t",
    " ", "\v", "\0", "#", "=", "createType", '"monolithicFlat"', 'createType="monolithicFlat"\n',
    "parentCID=ffffffff\n", 'RW 8 FLAT "flat.img" 0\n', '"', "# Disk DescriptorFile\n", "\x85", "\u2028",
)  # fmt: skip
descriptor_arguments = (
    st.one_of(st.lists(st.sampled_from(_WORDS), max_size=24).map("".join), st.text(max_size=200)),
)

#: Name of a target -> what runs, and what it is given.
TARGETS: dict[str, tuple[Callable[..., None], tuple[st.SearchStrategy[object], ...]]] = {
    "footer": (footer_target, footer_arguments),
    "detector": (detector_target, detector_arguments),
    "readers": (reader_target, reader_arguments),
    "descriptor": (descriptor_target, descriptor_arguments),
}


def fuzz(name: str, examples: int) -> None:
    """Run a target with so many examples; fails by exception, with the smallest one that shows it."""
    target, arguments = TARGETS[name]
    limits = settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    limits(given(*arguments)(target))()


def main() -> None:
    """Run each of the targets that are named, or all, in full."""
    for name in sys.argv[1:] or TARGETS:
        started = time.monotonic()
        fuzz(name, _FULL)
        print(f"{name}: {_FULL} examples in {time.monotonic() - started:.0f} s, none failed", flush=True)


if __name__ == "__main__":
    main()
