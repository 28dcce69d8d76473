"""`imgfix convert` as users call it."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgfix.disk.finished import faults
from imgfix.disk.size import GIB
from imgfix.disk.source import reader
from tests.disk import eio
from tests.disk.disks import MIB, gpt_disk, mbr_disk, patch, run, sha256
from tests.disk.emit import data_of, left_in
from tests.disk.images import image, raw_disk
from tests.guests.workshop import USER, Run, imgfix


def convert(*arguments: str | Path, folder: Path, **more: str) -> Run:
    done = imgfix("convert", *arguments, folder=folder, user=USER, environment=more)
    assert done.launches == 0
    return done


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def work(place: Path) -> Path:
    """A folder that an ordinary user may write to."""
    folder = place / "work"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, USER, USER)
    return folder


def test_an_export_becomes_a_vhd(work: Path, place: Path) -> None:
    raw = mbr_disk(place / "disk.raw", 40 * MIB - 512)
    path = image("ova", raw, place / "machine.ova")
    before = sha256(path)
    done = convert(path, work / "out.vhd", folder=place / "run")
    assert done.status == 0, done.stderr
    assert "machine.ova: taken for an OVA" in done.stderr
    assert "as the manifest machine.mf says" in done.stderr
    assert "fixed VHD of 40 MiB" in done.stdout
    assert data_of(work / "out.vhd") == raw.read_bytes().ljust(40 * MIB, b"\0")
    assert sha256(path) == before
    assert left_in(work) == ["out.vhd"]


@pytest.mark.parametrize("epoch", [{}, {"SOURCE_DATE_EPOCH": "1700000000"}])
def test_twice_is_the_same_bytes(work: Path, place: Path, epoch: dict[str, str]) -> None:
    raw = mbr_disk(place / "disk.raw", 40 * MIB)
    path = image("vhdx", raw, place / "in.vhdx")
    for name in ("a.vhd", "b.vhd"):
        assert convert(path, work / name, folder=place / "run", **epoch).status == 0
    assert (work / "a.vhd").read_bytes() == (work / "b.vhd").read_bytes()


def test_an_existing_output_needs_force(work: Path, place: Path) -> None:
    raw = raw_disk(place / "disk.raw", 20 * MIB, "edges")
    (work / "out.vhd").write_bytes(b"old")
    done = convert(raw, work / "out.vhd", folder=place / "run")
    assert done.status == 2
    assert "exists already" in done.stderr
    assert convert("--force", raw, work / "out.vhd", folder=place / "run").status == 0
    assert data_of(work / "out.vhd") == raw.read_bytes()


def test_a_larger_disk(work: Path, place: Path) -> None:
    raw = gpt_disk(place / "disk.raw", 40 * MIB)
    path = image("vhdx", raw, place / "in.vhdx")
    done = convert(path, work / "out.vhd", "--size", "1G", folder=place / "run")
    assert done.status == 0, done.stderr
    assert "fixed VHD of 1 GiB" in done.stdout
    assert (work / "out.vhd").stat().st_blocks * 512 < 2 * MIB
    with (work / "out.vhd").open("rb") as stream:
        read = reader(stream.fileno(), GIB + 512)
        assert faults(read, GIB, read(GIB, 512)) == ()  # the GPT's backup is at the new end
    done = convert(path, work / "no.vhd", "--size", "39M", folder=place / "run")
    assert done.status == 2
    assert "has 40 MiB (41943040 bytes), and --size asks for 39 MiB" in done.stderr
    assert left_in(work) == ["out.vhd"]


@pytest.mark.parametrize(
    "kind", ["raw", "vhd-fixed", "vhdx", "qcow2", "vdi", "qcow2-packed", "vmdk-split", "ova"]
)
def test_a_sector_that_cannot_be_read(work: Path, place: Path, kind: str) -> None:
    raw = mbr_disk(place / "disk.raw", 40 * MIB)
    patch(raw, 2 * MIB, random.Random(kind).randbytes(36 * MIB))
    path = image(kind, raw, place / "in.image")
    held = sorted(place.glob("in*-s*.vmdk"))[-1:] or [path]
    at = held[0].stat().st_size // 2
    done = convert(
        path, work / "out.vhd", folder=place / "run", **eio.variables(eio.build(place), held[0], at)
    )
    assert done.status == 4, done.stderr
    assert "Input/output error" in done.stderr
    assert str(path) in done.stderr
    assert "hint: " in done.stderr
    assert left_in(work) == []


@pytest.mark.parametrize(("size", "word"), [(8 * MIB, "takes uploads from"), (4096 << 30, "OS disks up to")])
def test_sizes_that_azure_refuses_are_told(work: Path, place: Path, size: int, word: str) -> None:
    raw = raw_disk(place / "disk.raw", size, "nothing")
    done = convert(raw, work / "out.vhd", folder=place / "run")
    assert done.status == 0, done.stderr
    assert word in done.stdout
    assert (work / "out.vhd").stat().st_size == size + 512


def test_a_gpt_disk_that_grows_keeps_a_sound_table(work: Path, place: Path) -> None:
    raw = place / "disk.raw"
    with raw.open("wb") as stream:
        stream.truncate(24 * MIB + 512)
    run("sfdisk", "-q", raw, text="label: gpt\nstart=2048, size=20480\n")
    path = image("qcow2-packed", raw, place / "in.qcow2")
    assert convert(path, work / "out.vhd", folder=place / "run").status == 0
    os.truncate(work / "out.vhd", 25 * MIB)
    assert "No problems found" in run("sgdisk", "--verify", work / "out.vhd")
