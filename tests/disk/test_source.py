"""What open_source takes, and how it says no."""

from __future__ import annotations

import gzip
import os
import shlex
import shutil
import socket
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imgfix.disk.formats import Format
from imgfix.disk.source import _REMEDIES, ACCEPTED, open_source
from imgfix.disk.vhd import fixed_footer
from imgfix.errors import ExitCode, HostError, ImageError, ImgfixError, UsageError
from tests.disk.disks import MIB, gpt_disk, mbr_disk, ordinary_user, patch, run, sparse_file


def refusal(path: Path) -> ImgfixError:
    with pytest.raises(ImgfixError) as caught:
        open_source(path)
    assert str(path).replace("\0", "\\x00") in caught.value.message
    return caught.value


@pytest.mark.parametrize(("make", "scheme"), [(gpt_disk, "gpt"), (mbr_disk, "mbr")])
def test_raw(tmp_path: Path, make: Callable[[Path], Path], scheme: str) -> None:
    source = open_source(make(tmp_path / "d.raw"))
    assert (source.format, source.size, source.footer) == (Format.RAW, 40 * MIB, None)
    assert source.table.scheme == scheme


def test_fixed_vhd_without_its_footer_counted(tmp_path: Path) -> None:
    raw, disk = gpt_disk(tmp_path / "d.raw"), tmp_path / "d.vhd"
    run(*["qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "subformat=fixed,force_size"], raw, disk)
    source = open_source(disk)
    assert (source.format, source.size) == (Format.FIXED_VHD, 40 * MIB)
    assert source.footer is not None
    assert source.table == open_source(raw).table


def test_bytes_decide_and_not_the_name(tmp_path: Path) -> None:
    raw, disk = gpt_disk(tmp_path / "d.raw"), tmp_path / "d.qcow2"
    raw.rename(disk)
    assert open_source(disk).format is Format.RAW


def test_file_system_without_a_table_is_left_to_the_inspection(tmp_path: Path) -> None:
    disk = sparse_file(tmp_path / "d.raw", 8 * MIB)
    run("mkfs.ext4", "-q", disk)
    assert open_source(disk).table.scheme is None


def test_odd_number_of_bytes(tmp_path: Path) -> None:
    disk = mbr_disk(tmp_path / "d.raw")
    with disk.open("ab") as file:
        file.write(b"odd")
    assert open_source(disk).size == 40 * MIB + 3


def test_symbolic_link_to_a_disk(tmp_path: Path) -> None:
    (tmp_path / "link.raw").symlink_to(gpt_disk(tmp_path / "d.raw"))
    assert open_source(tmp_path / "link.raw").size == 40 * MIB


@pytest.mark.parametrize(("options", "name"), [("qed", "QED"), ("parallels", "Parallels")])
def test_the_hint_converts(tmp_path: Path, options: str, name: str) -> None:
    raw, disk = gpt_disk(tmp_path / "d.raw"), tmp_path / "IN, OUT's"
    run("qemu-img", "convert", "-f", "raw", "-O", options, raw, disk)
    error = refusal(disk)
    assert name in error.message
    assert error.exit_code is ExitCode.GUEST
    argv = shlex.split(error.hint or "")
    run(*argv)
    assert open_source(Path(argv[-1])).table == open_source(raw).table


def test_differencing_vhd(tmp_path: Path) -> None:
    disk = tmp_path / "d.vhd"
    run("qemu-img", "create", "-q", "-f", "vpc", disk, "8M")
    footer = bytearray(disk.read_bytes()[-512:])
    footer[63] = 4
    footer[67] -= 1
    patch(disk, disk.stat().st_size - 512, bytes(footer))
    error = refusal(disk)
    assert "differencing" in error.message
    assert "parent" in (error.hint or "")


@pytest.mark.parametrize(
    ("name", "out"),
    [("d.raw.gz", "d.raw"), ("d.gz", "d.raw"), ("d.raw", "d.raw.raw"), ("d", "d.raw"), ("d.img.xz", "d.img")],
)
def test_the_hint_never_writes_over_the_file_itself(tmp_path: Path, name: str, out: str) -> None:
    disk = tmp_path / name
    disk.write_bytes(gzip.compress(os.urandom(2048)))
    assert refusal(disk).hint == f"gzip -dc {disk} > {tmp_path / out}"


def test_every_format_is_taken_or_has_a_remedy() -> None:
    assert frozenset(_REMEDIES) | ACCEPTED == frozenset(Format)


def test_raw_disk_with_the_name_of_a_vhd(tmp_path: Path) -> None:
    """What a fixed VHD looks like when its end, and so its footer, is cut off."""
    error = refusal(gpt_disk(tmp_path / "d.vhd"))
    assert isinstance(error, ImageError)
    assert "no VHD footer" in error.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"x" * 511, "511 bytes"),
        (bytes(512), "blank"),
        (bytes(2 * MIB) + b"data beyond the first MiB", "blank"),
        (bytes(512) + fixed_footer(512, timestamp=1_700_000_000, unique_id=uuid.UUID(int=1)), "blank"),
        (fixed_footer(512, timestamp=1_700_000_000, unique_id=uuid.UUID(int=1)), "0 bytes"),
    ],
)
def test_disks_without_a_disk(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "d.raw").write_bytes(content)
    error = refusal(tmp_path / "d.raw")
    assert error.exit_code is ExitCode.GUEST
    assert message in error.message


def test_truncated(tmp_path: Path) -> None:
    disk = gpt_disk(tmp_path / "d.raw")
    with disk.open("r+b") as file:
        file.truncate(30 * MIB)
    error = refusal(disk)
    assert isinstance(error, ImageError)
    assert str(30 * MIB) in error.message


@pytest.mark.parametrize("name", ["missing.raw", "folder", "file/below", "pipe", "socket", "nul\0"])
def test_paths_that_are_no_disk_files(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(tmp_path)
        listener.bind("socket")
        os.chdir(here)
        assert isinstance(refusal(tmp_path / name), UsageError)


def test_devices_are_not_opened() -> None:
    assert "character device" in refusal(Path("/dev/null")).message


def test_loop_of_links(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("a")
    assert isinstance(refusal(tmp_path / "a"), HostError)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_unreadable(open_folder: Path) -> None:
    disk = gpt_disk(open_folder / "d.raw")
    disk.chmod(0)
    with ordinary_user():
        error = refusal(disk)
    assert isinstance(error, HostError)
    assert "permission" in error.message


def test_failing_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: int) -> bytes:
        raise OSError(5, "Input/output error")

    disk = gpt_disk(tmp_path / "d.raw")
    monkeypatch.setattr(os, "pread", fail)
    assert isinstance(refusal(disk), HostError)
