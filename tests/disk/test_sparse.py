"""Copying data: holes, hosts that can do less, storage that fails half-way."""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path

import pytest

from imgfix.disk import sparse
from imgfix.disk.source import Source, open_source
from imgfix.disk.vhd import fixed_footer
from imgfix.disk.workcopy import WorkCopy
from imgfix.errors import HostError, ImageError
from tests.disk.disks import MIB, gpt_disk, scatter
from tests.disk.emit import convert, data_of, failing, left_in, refusal


def test_holes_stay_holes(tmp_path: Path, out: Path) -> None:
    disk = gpt_disk(tmp_path / "big.raw", 4096 * MIB)
    scatter(disk, 1000 * MIB, 3000 * MIB)
    convert(open_source(disk), out)
    assert out.stat().st_size == 4096 * MIB + 512
    assert out.stat().st_blocks <= disk.stat().st_blocks + 64


def test_zeros_inside_data_need_no_search(tmp_path: Path, out: Path) -> None:
    disk = gpt_disk(tmp_path / "s.raw")
    with disk.open("r+b") as file:
        file.seek(10 * MIB)
        file.write(bytes(4 * MIB))
    convert(open_source(disk), out)
    assert out.stat().st_blocks * 512 >= 4 * MIB


@pytest.mark.parametrize("code", [errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL])
def test_hosts_without_copy_file_range(
    source: Source, out: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(os, "copy_file_range", failing(code))
    convert(source, out)
    assert data_of(out) == source.path.read_bytes()


def test_copy_file_range_that_copies_nothing(
    source: Source, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "copy_file_range", lambda *_: 0)
    convert(source, out)
    assert data_of(out) == source.path.read_bytes()


def test_file_systems_that_do_not_show_holes(
    source: Source, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "lseek", failing(errno.EINVAL))
    convert(source, out)
    assert data_of(out) == source.path.read_bytes()


def test_reflink_is_cut_to_the_guest_data(source: Source, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone has the whole file, a VHD's footer too; here a full copy stands in for the ioctl."""

    def clone(origin: sparse.OpenFile, target: sparse.OpenFile) -> bool:
        os.pwrite(target.fd, origin.path.read_bytes(), 0)
        return True

    disk = source.path.rename(source.path.with_suffix(".vhd"))
    with disk.open("ab") as file:
        file.write(bytes(512))
        file.write(fixed_footer(40 * MIB + 512, timestamp=1_700_000_000, unique_id=uuid.UUID(int=1)))
    monkeypatch.setattr("imgfix.disk.workcopy.reflink", clone)
    with WorkCopy.create(open_source(disk), out) as work:
        assert work.size == 41 * MIB
        assert b"conectix" not in work.path.read_bytes()


def test_progress_ends_at_its_total(source: Source, out: Path) -> None:
    seen: list[tuple[int, int]] = []
    with WorkCopy.create(source, out, progress=lambda done, total: seen.append((done, total))):
        pass
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] < 2 * MIB


def test_source_on_failing_storage(source: Source, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pread

    def pread(fd: int, length: int, offset: int) -> bytes:
        if offset <= 20 * MIB < offset + length:
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, length, offset)

    monkeypatch.setattr(os, "copy_file_range", failing(errno.EIO))
    monkeypatch.setattr(os, "pread", pread)
    error = refusal(source, out)
    assert isinstance(error, HostError)
    assert f"{source.path}: cannot be read at byte {20 * MIB}" in error.message


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["copy_file_range", "pwrite", "ftruncate", "fsync"])
def test_space_that_runs_out(
    source: Source, out: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    out.write_bytes(b"old")
    if call == "pwrite":
        monkeypatch.setattr(os, "copy_file_range", failing(errno.EXDEV))
    monkeypatch.setattr(os, call, failing(code))
    with pytest.raises(HostError, match=r"free, .* needed"):
        convert(source, out, force=True)
    monkeypatch.undo()
    assert out.read_bytes() == b"old"
    assert left_in(out.parent) == [out.name]


@pytest.mark.parametrize("change", ["write", "grow", "shrink"])
def test_source_that_changes_during_the_copy(source: Source, out: Path, change: str) -> None:
    def disturb(done: int, total: int) -> None:
        if done == total:
            return
        if change == "write":
            scatter(source.path, 25 * MIB)
        else:
            os.truncate(source.path, 41 * MIB if change == "grow" else 2 * MIB)

    with pytest.raises(ImageError, match=r"changed|ended"):
        WorkCopy.create(source, out, progress=disturb)
    assert left_in(out.parent) == []
