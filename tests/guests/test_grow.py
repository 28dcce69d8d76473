"""A larger disk, a root that takes the space of swap and disk, and free blocks that are holes; twice is once."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.disks import image, plain, xfs_on_lvm
from tests.guests.workshop import Run, imgfix, sha256

pytestmark = [pytest.mark.appliance, pytest.mark.xdist_group("plain")]

MIB = 1 << 20
SIZE = 96 * MIB
SECRET = b"a key that was deleted long ago" * 262144
OPTIONS = ("--size", "96M", "--grow-root")


@dataclass(frozen=True, slots=True)
class Grown:
    """The disk, its sha256 before, the VHD, the run."""

    disk: Path
    sha256: str
    vhd: Path
    run: Run


def small(folder: Path) -> Path:
    """Write a profile that needs no program of the guest."""
    profile = folder / "small.yaml"
    profile.write_text("name: small\ndescription: what needs no program of the guest\n")
    return profile


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Grown:
    """The smallest guest, with a deleted file in its free blocks, on a larger disk."""
    folder = tmp_path_factory.mktemp("grow")
    disk = plain.build(folder / "d.raw", folder)
    with disk.open("r+b") as stream:
        stream.seek(plain.FREE + (64 << 10))
        stream.write(SECRET)
    profile = small(folder)
    before = sha256(disk)
    run = imgfix("apply", profile, disk, *OPTIONS, folder=folder)
    assert run.status == 0, run.stderr
    return Grown(disk, before, disk.with_suffix(".vhd"), run)


def test_the_root_ends_at_the_end_of_the_disk(grown: Grown) -> None:
    assert grown.vhd.stat().st_size == SIZE + 512
    assert grown.run.launches == 1
    (start, length) = image.extents(grown.vhd)[1]
    assert start == plain.ROOT_START
    assert start + length == SIZE - MIB
    assert sorted(image.extents(grown.vhd)) == [1, 3]  # swap stood behind it
    argv = ("dumpe2fs", "-h", f"{grown.vhd}?offset={start}")
    told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    blocks, size = (int(told.partition(f"Block {name}:")[2].split()[0]) for name in ("count", "size"))
    assert length - MIB < blocks * size <= length
    assert "grew the root, /dev/sda1, from 44 MiB" in grown.run.stderr


def test_the_partition_is_the_same_but_for_its_size(grown: Grown) -> None:
    described = [
        subprocess.run(("sgdisk", "-i", "1", disk), capture_output=True, text=True, check=True).stdout
        for disk in (grown.disk, grown.vhd)
    ]
    same = [[line for line in text.splitlines() if "ector" not in line] for text in described]
    assert same[0] == same[1]
    assert "'root'" in described[1]
    assert plain.GUIDS[0].upper() in described[1]
    raw = grown.vhd.with_name("verified.raw")
    raw.write_bytes(grown.vhd.read_bytes()[:SIZE])
    told = subprocess.run(("sgdisk", "--verify", raw), capture_output=True, text=True, check=True).stdout
    assert "No problems found" in told
    assert "boundary" not in told


def test_free_blocks_are_holes(grown: Grown) -> None:
    assert SECRET[:64] in grown.disk.read_bytes()
    assert SECRET[:64] not in grown.vhd.read_bytes()
    assert grown.vhd.stat().st_blocks < grown.disk.stat().st_blocks


def test_twice_is_once_and_the_source_as_it_was(grown: Grown) -> None:
    profile = grown.disk.with_name("small.yaml")
    again = grown.vhd.with_name("again.vhd")
    run = imgfix("apply", profile, grown.vhd, "-o", again, *OPTIONS, folder=grown.disk.parent)
    assert run.status == 0, run.stderr
    assert again.read_bytes() == grown.vhd.read_bytes()
    assert sha256(grown.disk) == grown.sha256


def test_smaller_is_refused_with_both_numbers(grown: Grown) -> None:
    run = imgfix(
        "apply", "debian", grown.disk, "--size", "63M", "-o", "x.vhd", folder=grown.disk.parent / "small"
    )
    assert run.status == 2
    assert "has 64 MiB (67108864 bytes), and --size asks for 63 MiB (66060288 bytes)" in run.stderr
    assert run.launches == 0


def test_xfs_on_a_logical_volume_takes_the_space_of_disk_and_swap(tmp_path: Path) -> None:
    """Partition, physical volume, logical volume and file system, as Enterprise Linux has them."""
    disk = xfs_on_lvm.build(tmp_path / "d.raw", tmp_path)
    run = imgfix(
        *("apply", small(tmp_path), disk, "--size", "600M", "--grow-root"),
        folder=tmp_path,
    )
    assert run.status == 0, run.stderr
    vhd = disk.with_suffix(".vhd")
    start, length = image.extents(vhd)[2]
    assert start + length == 600 * MIB
    with vhd.open("rb") as stream:
        stream.seek(start + xfs_on_lvm.PE_START)
        magic, block, blocks = struct.unpack(">4sIQ", stream.read(16))
    assert magic == b"XFSB"
    # Whole extents of 4 MiB; what was swap is among them.
    assert length - 9 * MIB < block * blocks < length
