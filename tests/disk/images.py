"""Images of every format that imgfix takes, made by qemu-img from a raw disk, and what is in such a disk."""

from __future__ import annotations

import hashlib
import os
import random
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.disk.disks import MIB, run, sparse_file
from tests.disk.stream_vmdk import write_stream

SECTOR = 512

#: What qemu-img is told to make of a raw disk, one row a kind.
OPTIONS = {
    "qcow2": "qcow2",
    "qcow2-v2": "qcow2 -o compat=0.10,cluster_size=512",
    "qcow2-packed": "qcow2 -c",
    "qcow2-zstd": "qcow2 -c -o compression_type=zstd,cluster_size=2M",
    "qcow2-subclusters": "qcow2 -o extended_l2=on,cluster_size=128k",
    "qcow2-full": "qcow2 -o preallocation=metadata",
    "vhd-dynamic": "vpc -o subformat=dynamic,force_size",
    "vhd-fixed": "vpc -o subformat=fixed,force_size",
    "vhdx": "vhdx",
    "vhdx-small-blocks": "vhdx -o block_size=1M",
    "vhdx-fixed": "vhdx -o subformat=fixed",
    "vdi": "vdi",
    "vdi-static": "vdi -o static=on",
    "vmdk": "vmdk",
    "vmdk-flat": "vmdk -o subformat=monolithicFlat",
    "vmdk-split": "vmdk -o subformat=twoGbMaxExtentSparse",
    "vmdk-split-flat": "vmdk -o subformat=twoGbMaxExtentFlat",
    "vmdk-stream": "vmdk -o subformat=streamOptimized",
}
KINDS = ("raw", *OPTIONS, "vmdk-stream-vmware", "ova", "ova-qcow2", "ova-raw")

OVF = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
  <References><File ovf:id="file1" ovf:href="{name}" ovf:size="{size}"/></References>
  <DiskSection><Info>Disks</Info><Disk ovf:capacity="1" ovf:diskId="disk1" ovf:fileRef="file1"/></DiskSection>
  <VirtualSystem ovf:id="machine"><Info>A machine</Info></VirtualSystem>
</Envelope>
"""


def image(kind: str, raw: Path, path: Path) -> Path:
    """Write the raw disk as an image of one of KINDS."""
    if kind == "raw":
        os.link(raw, path)
        return path
    if kind.startswith("ova"):
        inner = {
            "ova": "vmdk-stream" if raw.stat().st_size > 64 * MIB else "vmdk-stream-vmware",
            "ova-qcow2": "qcow2",
            "ova-raw": "raw",
        }[kind]
        disk = image(inner, raw, path.with_name(f"{path.name}-disk1.vmdk"))
        return ova(path, disk)
    if kind == "vmdk-stream-vmware":
        write_stream(raw, path)
        return path
    run("qemu-img", "convert", "-f", "raw", "-O", *OPTIONS[kind].split(), raw, path)
    return path


def ova(path: Path, disk: Path, *, ovf: str = OVF, manifest: str | None = "SHA256") -> Path:
    """Pack a disk with its description and a manifest, as exporters do."""
    texts = {"machine.ovf": ovf.format(name=disk.name, size=disk.stat().st_size).encode()}
    if manifest:
        digests = {"machine.ovf": hashlib.new(manifest, texts["machine.ovf"]).hexdigest()}
        digests[disk.name] = hashlib.new(manifest, disk.read_bytes()).hexdigest()
        rows = "".join(f"{manifest}({name})= {digest}\n" for name, digest in digests.items())
        texts["machine.mf"] = rows.encode()
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, text in texts.items():
            file = path.with_name(f"{path.name}-{name}")
            file.write_bytes(text)
            archive.add(file, arcname=name)
        archive.add(disk, arcname=disk.name)
    return path


@dataclass(frozen=True, slots=True)
class Span:
    """`length` bytes at `offset` that are written to a disk, zeros or not."""

    offset: int
    length: int
    zeros: bool = False


def _edges(size: int) -> Iterator[Span]:
    yield Span(0, min(size, 4096))
    yield Span(max(0, size - 513), min(size, 513))


def _islands(size: int) -> Iterator[Span]:
    """Data on both sides of the borders of clusters, grains and blocks of every format."""
    for border in (64 << 10, 128 << 10, MIB, 2 * MIB, 8 * MIB, 16 * MIB, 32 * MIB, 1 << 30, 2 << 30, 1 << 40):
        if border + 700 < size:
            yield Span(border - 700, 1400)


def _stripes(size: int) -> Iterator[Span]:
    for offset in range(0, min(size, 12 * MIB), 96 << 10):
        yield Span(offset, min(32 << 10, size - offset))


def _zeros(size: int) -> Iterator[Span]:
    """Zeros that are written are data to a file system, and are nothing to a VHD."""
    yield Span(0, min(size, 3 * MIB), zeros=True)
    yield Span(size // 2, min(size - size // 2, 512))


def _random(size: int) -> Iterator[Span]:
    source = random.Random(size)
    for _ in range(24):
        offset = source.randrange(size)
        yield Span(offset, min(source.choice((1, 511, 512, 4096, 70_000)), size - offset))


PATTERNS: dict[str, Callable[[int], Iterator[Span]]] = {
    "nothing": lambda _: iter(()),
    "edges": _edges,
    "islands": _islands,
    "stripes": _stripes,
    "zeros": _zeros,
    "random": _random,
}


def raw_disk(path: Path, size: int, pattern: str) -> Path:
    """Make a sparse disk of `size` bytes with data after one of PATTERNS; without a partition table."""
    sparse_file(path, size)
    source = random.Random(f"{size} {pattern}")
    with path.open("r+b") as file:
        for span in PATTERNS[pattern](size):
            file.seek(span.offset)
            file.write(bytes(span.length) if span.zeros else source.randbytes(span.length))
        if size >= SECTOR:
            # Neither the marks of another format nor of a partition table, by accident.
            for at, mark in ((0, b"\xfa"), (510, b"\0\0")):
                file.seek(at)
                if file.read(len(mark)).strip(b"\0"):
                    file.seek(at)
                    file.write(mark)
    return path
