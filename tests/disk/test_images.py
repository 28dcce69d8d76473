"""The readers of qcow2, VHDX, VMDK, VDI and dynamic VHD: the guest's bytes, and every way to say no.

What is refused here is refused by imgfix alone: no other tool has opened the image by then.
"""

from __future__ import annotations

import os
import struct
import subprocess
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imgfix.disk import dynamic_vhd, vhd, vhdx
from imgfix.disk.formats import Format
from imgfix.disk.images import Node, open_image
from imgfix.disk.layout import File
from imgfix.disk.source import Source, open_source
from imgfix.errors import ExitCode, ImageError, ImgfixError
from tests.disk.disks import MIB, gpt_disk, mbr_disk, patch, run, sparse_file
from tests.disk.images import KINDS, OVF, image, ova, raw_disk

HEADERS = (64 << 10, 128 << 10)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return raw_disk(tmp_path / "disk.raw", 5 * MIB + 512, "islands")


def made(kind: str, raw: Path) -> Path:
    return image(kind, raw, raw.with_name("in.img"))


def refusal(path: Path, as_format: str | None = None) -> ImgfixError:
    with pytest.MonkeyPatch.context() as patched:

        def started(*_: object, **__: object) -> None:
            raise AssertionError("a tool was started")

        patched.setattr(subprocess, "Popen", started)
        with pytest.raises(ImgfixError) as caught:
            open_source(path, as_format, blank=True)
    assert str(path) in caught.value.message
    assert caught.value.exit_code is ExitCode.GUEST
    return caught.value


def content(path: Path, kind: Format) -> bytes:
    """The guest's bytes, read by imgfix's own reader; in pieces that fit no chunk."""
    data = path.read_bytes()

    def beside(name: str) -> File:
        other = (path.parent / name).read_bytes()
        return File(lambda offset, length: other[offset : offset + length], len(other))

    file = File(lambda offset, length: data[offset : offset + length], len(data))
    opened = open_image(kind, file, Node.of_file(path), beside)
    pieces = range(0, opened.size, 333_333)
    return b"".join(opened.read_at(offset, min(333_333, opened.size - offset)) for offset in pieces)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("raw", "vhd-fixed")])
@pytest.mark.parametrize("pattern", ["islands", "stripes"])
def test_our_own_reader_sees_the_guests_bytes(tmp_path: Path, kind: str, pattern: str) -> None:
    raw = raw_disk(tmp_path / "disk.raw", 5 * MIB + 512, pattern)
    path = made(kind, raw)
    source = open_source(path, blank=True)
    assert source.size == raw.stat().st_size
    assert content(path, source.format) == raw.read_bytes()
    assert source.image is not None
    assert source.image.allocated >= source.image.packed


@pytest.mark.parametrize("kind", KINDS)
def test_the_partition_table_is_read_through_the_format(tmp_path: Path, kind: str) -> None:
    raw = gpt_disk(tmp_path / "disk.raw")
    assert open_source(made(kind, raw)).table == open_source(raw).table


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind not in ("raw", "vhd-fixed", "qcow2-full", "vmdk-flat")]
)
def test_truncated(raw: Path, kind: str) -> None:
    path = made(kind, raw)
    cut = next(path.parent.glob("in*001*"), path)
    size = cut.stat().st_size
    # What lies behind the disk's end in its last block may be missing: nobody reads it.
    os.truncate(
        cut,
        size // 4
        if kind.startswith(("vhdx", "vdi", "vhd", "vmdk-stream"))
        else size - min(70_000, size // 3),
    )
    message = refusal(path).message
    assert "truncated" in message or "footer" in message or "archive" in message or "damaged" in message


def test_truncated_flat(raw: Path) -> None:
    path = made("vmdk-flat", raw)
    flat = path.with_name("in-flat.img")
    os.truncate(flat, flat.stat().st_size - 512)
    message = refusal(path).message
    assert str(5 * MIB + 512) in message
    assert str(5 * MIB) in message


# --- names and bytes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "magic", [b"QFI\xfb", b"KDMV", b"vhdxfile", b"# Disk DescriptorFile", b"LUKS\xba\xbe"]
)
@pytest.mark.parametrize("make", [gpt_disk, mbr_disk])
def test_a_raw_disk_that_begins_like_another_format(
    tmp_path: Path, magic: bytes, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path / "d.raw")
    patch(path, 0, magic)
    error = refusal(path)
    assert "imitation" in error.message
    assert "--format raw" in (error.hint or "")
    assert open_source(path, "raw").format is Format.RAW


def test_a_magic_with_nothing_behind_it_may_be_a_raw_disk(tmp_path: Path) -> None:
    path = raw_disk(tmp_path / "d.raw", MIB, "islands")
    patch(path, 0, b"QFI\xfb")
    assert "qcow version 0" in refusal(path).message
    assert "--format raw" in (refusal(path).hint or "")
    assert open_source(path, "raw", blank=True).size == MIB


@pytest.mark.parametrize("name", ["vhd", "vhdx", "qcow2", "vmdk", "vdi", "ova"])
def test_format_that_the_bytes_are_not(tmp_path: Path, name: str) -> None:
    refusal(gpt_disk(tmp_path / "d.raw"), name)


def test_format_vhd_is_fixed_or_dynamic(raw: Path) -> None:
    path = made("vhd-dynamic", raw)
    assert open_source(path, "vhd", blank=True).format is Format.DYNAMIC_VHD


def test_a_raw_disk_named_vhd_is_taken_when_told(tmp_path: Path) -> None:
    assert open_source(gpt_disk(tmp_path / "d.vhd"), "raw").format is Format.RAW


def test_it_says_what_it_took_it_for(raw: Path) -> None:
    source: Source = open_source(made("qcow2", raw), blank=True)
    assert source.taken_for.startswith("in.img: taken for a qcow2 image: a disk of 5 MiB (5243392 bytes), ")


# --- qcow2 --------------------------------------------------------------------------------------------------


def test_qcow2_with_a_backing_file(tmp_path: Path, raw: Path) -> None:
    path = tmp_path / "in.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", raw, "-F", "raw", path)
    error = refusal(path)
    assert f"backing file '{raw}'" in error.message
    assert f"qemu-img convert -f qcow2 -O qcow2 {path}" in (error.hint or "")


def test_qcow2_with_a_data_file(tmp_path: Path) -> None:
    path = tmp_path / "in.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path}/data", path, "4M")
    assert "external data file" in refusal(path).message


def test_qcow2_that_is_encrypted(tmp_path: Path) -> None:
    """The old way: for LUKS qemu-img measures the host's speed, and fails where it is busy."""
    path = tmp_path / "in.qcow2"
    secret = ("--object", "secret,id=s,data=abc", "-o", "encrypt.format=aes,encrypt.key-secret=s")
    run("qemu-img", "create", "-q", *secret, "-f", "qcow2", path, "4M")
    assert "encrypted" in refusal(path).message
    with path.open(
        "r+b"
    ) as stream:  # crypt_method 2 is LUKS: https://www.qemu.org/docs/master/interop/qcow2.html
        stream.seek(32)
        stream.write((2).to_bytes(4, "big"))
    assert "encrypted" in refusal(path).message


@pytest.mark.parametrize(
    ("offset", "data", "message"),
    [
        (4, b"\0\0\0\1", "version 1"),
        (4, b"\0\0\0\4", "version 4"),
        (20, b"\0\0\0\3", r"2\^3"),
        (24, bytes(8), "0 bytes"),
        (24, b"\x7f" * 8, "sectors"),
        (24, b"\0\1\0\0\0\0\0\0", "largest"),
        (36, b"\0\0\0\0", "entries"),
        (40, b"\0\0\0\0\0\3\0\1", "within a cluster"),
        (40, b"\0\0\0\1\0\0\0\0", "truncated"),
        (72, b"\0\0\0\0\0\0\0\2", "corrupt"),
        (72, b"\0\0\0\1\0\0\0\0", "features"),
    ],
)
def test_qcow2_header(raw: Path, offset: int, data: bytes, message: str) -> None:
    path = made("qcow2", raw)
    patch(path, offset, data)
    with pytest.raises(ImageError, match=message):
        open_source(path, blank=True)


def test_qcow2_whose_tables_are_one(tmp_path: Path) -> None:
    """A small file with a table that stands for the whole disk a million times would take hours to walk."""
    path = tmp_path / "in.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", path, "4G")
    l1 = struct.unpack(">Q", path.read_bytes()[40:48])[0]
    patch(path, l1, struct.pack(">Q", 1 << 63 | 3 << 16) * 8)
    os.truncate(path, 1 << 20)
    assert "L2 table" in refusal(path).message


def test_qcow2_with_snapshots_is_taken_as_it_is_now(raw: Path) -> None:
    path = made("qcow2", raw)
    run("qemu-img", "snapshot", "-c", "before", path)
    run("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 512", path)
    source = open_source(path, blank=True)
    assert "1 snapshots" in source.notes[0]
    assert content(path, Format.QCOW2)[:512] == b"\7" * 512


# --- VHDX ---------------------------------------------------------------------------------------------------


def rewrite_headers(path: Path, offset: int, data: bytes) -> None:
    """Change both headers, with checksums that are right again."""
    for header in HEADERS:
        old = path.read_bytes()[header : header + 4096]
        new = old[:4] + bytes(4) + old[8:offset] + data + old[offset + len(data) :]
        patch(path, header, new[:4] + struct.pack("<I", vhdx.crc32c(new)) + new[8:])


def test_crc32c_is_the_one_of_the_rfc() -> None:
    assert vhdx.crc32c(b"123456789") == 0xE3069283


def test_vhdx_with_a_dirty_log(raw: Path) -> None:
    path = made("vhdx", raw)
    rewrite_headers(path, 48, uuid.uuid4().bytes)
    error = refusal(path)
    assert "log was not replayed" in error.message
    assert f"Mount-VHD -Path {path}" in (error.hint or "")


def test_vhdx_with_one_torn_header_is_taken(raw: Path) -> None:
    path = made("vhdx", raw)
    patch(path, HEADERS[0] + 100, b"torn")
    assert content(path, Format.VHDX) == raw.read_bytes()
    patch(path, HEADERS[1] + 100, b"torn")
    assert "neither of its two headers" in refusal(path).message


@pytest.mark.parametrize(
    ("item", "data", "message"),
    [
        (vhdx.FILE_PARAMETERS, struct.pack("<II", 1 << 25, 2), "differencing"),
        (vhdx.FILE_PARAMETERS, struct.pack("<II", 1 << 19, 0), "blocks of"),
        (vhdx.LOGICAL_SECTOR, struct.pack("<I", 4096), "4096"),
        (vhdx.DISK_SIZE, struct.pack("<Q", 513), "sectors"),
        (vhdx.DISK_SIZE, struct.pack("<Q", 60 << 40), "block table"),
    ],
)
def test_vhdx_metadata(raw: Path, item: uuid.UUID, data: bytes, message: str) -> None:
    path = made("vhdx", raw)
    whole = path.read_bytes()
    table = whole.index(b"metadata")
    row = whole.index(item.bytes_le, table)
    patch(path, table + struct.unpack_from("<I", whole, row + 16)[0], data)
    assert message in refusal(path).message


# --- VHD ----------------------------------------------------------------------------------------------------


def test_dynamic_vhd_with_two_footers(raw: Path) -> None:
    path = made("vhd-dynamic", raw)
    footer = bytearray(path.read_bytes()[:512])
    footer[24:28] = b"\1\2\3\4"
    footer[64:68] = struct.pack(">I", vhd.checksum(bytes(footer)))
    patch(path, 0, bytes(footer))
    assert "another one than the footer at its end" in refusal(path).message


@pytest.mark.parametrize(
    ("offset", "data", "message"),
    [(0, b"cxsparsE", "cxsparse"), (32, b"\0\0\0\1", "checksum"), (100, b"x", "checksum")],
)
def test_dynamic_vhd_header(raw: Path, offset: int, data: bytes, message: str) -> None:
    path = made("vhd-dynamic", raw)
    patch(path, 512 + offset, data)
    assert message in refusal(path).message


def test_dynamic_vhd_with_a_block_elsewhere(raw: Path) -> None:
    path = made("vhd-dynamic", raw)
    patch(path, 1536, struct.pack(">I", path.stat().st_size // 512))
    error = refusal(path)
    assert "truncated: a block" in error.message


def test_dynamic_vhd_keeps_its_identity(raw: Path) -> None:
    path = made("vhd-dynamic", raw)
    source = open_source(path, blank=True)
    assert source.footer is not None
    assert (
        source.footer.unique_id == vhd.parse_footer(path.read_bytes()[-512:], path.stat().st_size).unique_id
    )
    data = path.read_bytes()
    layout, _ = dynamic_vhd.layout(File(lambda at, length: data[at : at + length], len(data)))
    assert layout.size == raw.stat().st_size


# --- VDI ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "data", "message"),
    [
        (76, b"\4\0\0\0", "differencing"),
        (440, b"x", "differencing"),
        (68, b"\0\0\0\0", "version"),
        (376, b"\0\0\2\0", "blocks of"),
        (384, b"\1\0\0\0", "1 blocks"),
    ],
)
def test_vdi_header(raw: Path, offset: int, data: bytes, message: str) -> None:
    path = made("vdi", raw)
    patch(path, offset, data)
    assert message in refusal(path).message


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
