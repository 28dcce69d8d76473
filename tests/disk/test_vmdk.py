"""VMDK with its descriptors and extents, and OVA around it: every way to say no before a tool opens the image."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgfix.disk.source import open_source
from imgfix.errors import ImageError
from tests.disk.disks import MIB, patch, sparse_file
from tests.disk.images import OVF, image, ova, raw_disk
from tests.disk.refusing import made, refusal

# --- OVA ----------------------------------------------------------------------------------------------------


def _disk(raw: Path) -> Path:
    return image("vmdk-stream", raw, raw.with_name("disk1.vmdk"))


@pytest.mark.parametrize("algorithm", ["SHA1", "SHA256", "SHA512"])
def test_the_manifest_is_held_against_the_files(raw: Path, algorithm: str) -> None:
    path = ova(raw.with_name("m.ova"), _disk(raw), manifest=algorithm)
    assert any("as the manifest" in note for note in open_source(path, blank=True).notes)
    with tarfile.open(path) as archive:
        at = archive.getmember("disk1.vmdk").offset_data
    patch(path, at + 70_000, b"changed")
    error = refusal(path)
    assert "'disk1.vmdk' in it is not what its manifest says" in error.message
    assert algorithm in error.message


def test_no_manifest_is_told(raw: Path) -> None:
    path = ova(raw.with_name("m.ova"), _disk(raw), manifest=None)
    assert any("no manifest" in note for note in open_source(path, blank=True).notes)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('ovf:fileRef="file1"', "", "0 disks"),
        ("<File ", '<File ovf:compression="gzip" ', "compressed"),
        ("<File ", '<File ovf:chunkSize="1000" ', "in pieces"),
        ('ovf:size="', 'ovf:size="1', "the description says 1"),
        ("{name}", "other.vmdk", "'other.vmdk', which is not in it"),
        ("{name}", "../{name}", "which is not in it"),
        ("<Envelope", '<!DOCTYPE x [<!ENTITY a "b">]><Envelope', "entities"),
        ("</Envelope>", "", "no XML"),
        (
            "</DiskSection>",
            '<Disk ovf:fileRef="f2"/></DiskSection><x><File ovf:id="f2" ovf:href="b.vmdk"/></x>',
            "2 disks in it, one expected: 'disk1.vmdk', 'b.vmdk'",
        ),
    ],
)
def test_description(raw: Path, old: str, new: str, message: str) -> None:
    path = ova(raw.with_name("m.ova"), _disk(raw), ovf=OVF.replace(old, new))
    assert message in refusal(path).message


def test_disk_of_an_ova_that_is_a_descriptor(raw: Path) -> None:
    disk = image("vmdk-flat", raw, raw.with_name("disk1.vmdk"))
    path = ova(raw.with_name("m.ova"), disk)
    assert "in several files" in refusal(path).message


def test_tar_that_is_no_ova(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(4096))
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.add(tmp_path / "file", arcname="file")
    error = refusal(tmp_path / "a.tar")
    assert "0 OVF descriptions" in error.message
    assert f"tar -xf {tmp_path}/a.tar" in (error.hint or "")


# --- VMDK ---------------------------------------------------------------------------------------------------

DESCRIPTOR = """# Disk DescriptorFile
version=1
CID=12345678
parentCID=ffffffff
createType="monolithicFlat"

# Extent description
RW 8 FLAT "flat.img" 0

# The Disk Data Base
ddb.adapterType = "lsilogic"
"""


def described(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    text = DESCRIPTOR
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    sparse_file(tmp_path / "flat.img", 4096)
    path = tmp_path / "d.vmdk"
    path.write_text(text)
    return path


def test_small_descriptor(tmp_path: Path) -> None:
    assert open_source(described(tmp_path), blank=True).size == 4096


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A file that an image must not reach: beside the image's folder, and no disk of its owner."""
    folder = tmp_path / "images"
    folder.mkdir()
    sparse_file(tmp_path / "secret", 4096)
    yield folder
    assert (tmp_path / "secret").read_bytes() == bytes(4096)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/shadow", "a/../../secret", "..\\secret", "nbd:unix:x", "json:{}"]
)
def test_extent_outside_the_folder(outside: Path, name: str) -> None:
    error = refusal(described(outside, ("flat.img", name)))
    assert "outside the folder" in error.message
    assert "put the file beside the descriptor" in (error.hint or "")


def test_extent_that_is_a_link_out_of_the_folder(outside: Path) -> None:
    (outside / "link.img").symlink_to("../secret")
    assert "leads out of" in refusal(described(outside, ("flat.img", "link.img"))).message


def test_extent_that_is_missing(tmp_path: Path) -> None:
    error = refusal(described(tmp_path, ("flat.img", "other.img")))
    assert "'other.img' is not in" in error.message


def test_descriptor_through_a_link_finds_what_is_beside_the_file(tmp_path: Path, outside: Path) -> None:
    described(outside)
    (tmp_path / "link.vmdk").symlink_to(outside / "d.vmdk")
    assert open_source(tmp_path / "link.vmdk", blank=True).size == 4096


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("parentCID=ffffffff", "parentCID=12341234", "snapshot"),
        ("parentCID=ffffffff", 'parentFileNameHint="base.vmdk"', "'base.vmdk'"),
        ("CID=12345678", 'encryption.keySafe = "vmware:key/list/x"', "encrypted"),
        ('"monolithicFlat"', '"fullDevice"', "real device"),
        ('"monolithicFlat"', '"vmfsSparse"', "ESXi"),
        ('"monolithicFlat"', '"custom"', "not known"),
        ("RW 8", "RDONLY 8", "not taken"),
        ("FLAT", "VMFSRDM", "not taken"),
        ('RW 8 FLAT "flat.img" 0', "RW 8 ZERO", "not taken"),
        ('RW 8 FLAT "flat.img" 0', "", "no extent"),
        ("RW 8 FLAT", "RW 9 FLAT", "truncated"),
        ("RW 8 FLAT", "RW 0 FLAT", "sectors"),
        # QEMU reads it with scanf, to which a line's end is a blank.
        ('RW 8 FLAT "flat.img" 0', 'RW\n8\nFLAT\n"/etc/shadow"', "cannot be understood"),
        ('RW 8 FLAT "flat.img" 0', '\vRW 8 FLAT "/etc/shadow" 0', "control characters|cannot be understood"),
        ('RW 8 FLAT "flat.img" 0', 'RW 8 FLAT "flat.img" 0\rRW 8 FLAT "/etc/shadow" 0', "control characters"),
    ],
)
def test_descriptor(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = described(tmp_path, (old, new))
    with pytest.raises(ImageError, match=message):
        open_source(path, blank=True)


def test_part_of_a_split_disk(raw: Path) -> None:
    path = made("vmdk-split", raw)
    assert "name the descriptor" in (refusal(path.with_name("in-s001.img")).hint or "")


def test_sparse_disk_without_a_capacity(raw: Path) -> None:
    """QEMU would then follow the extents of the descriptor inside."""
    path = made("vmdk", raw)
    patch(path, 12, bytes(8))
    assert "0 bytes" in refusal(path).message


def test_stream_that_lost_its_end(raw: Path) -> None:
    path = made("vmdk-stream-vmware", raw)
    os.truncate(path, path.stat().st_size - 1024)
    assert "without the footer at its end" in refusal(path).message


def test_esxi_sparse(tmp_path: Path) -> None:
    path = raw_disk(tmp_path / "d.vmdk", MIB, "nothing")
    patch(path, 0, b"COWD")
    assert "ESXi" in refusal(path).message
