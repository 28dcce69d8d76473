"""The work copy: what it becomes, what is refused, and that nothing is left behind."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from imgfix.disk import fault
from imgfix.disk.source import Source, open_source
from imgfix.disk.vhd import fixed_footer
from imgfix.disk.workcopy import WorkCopy
from imgfix.errors import HostError, ImageError, UsageError
from tests.disk.disks import MIB, gpt_disk, mbr_disk, ordinary_user, run, scatter, sha256, sparse_file
from tests.disk.emit import convert, data_of, failing, left_in, refusal


@pytest.mark.parametrize("size", [40 * MIB, 40 * MIB - 512, 39 * MIB + 512, 40 * MIB - 33 * 512])
@pytest.mark.parametrize("make", [gpt_disk, mbr_disk])
def test_round_trip(tmp_path: Path, out: Path, make: Callable[[Path, int], Path], size: int) -> None:
    source = open_source(make(tmp_path / "s.raw", size))
    before = sha256(source.path)
    convert(source, out)
    assert sha256(source.path) == before
    assert left_in(out.parent) == [out.name]
    info = json.loads(run("qemu-img", "info", "-f", "vpc", "--output=json", out))
    assert info["virtual-size"] == 40 * MIB
    again = open_source(out)
    assert again.table == source.table
    for part in again.table.partitions:
        assert data_of(out)[part.start : part.end] == source.path.read_bytes()[part.start : part.end]


def test_twice_is_the_same_as_once(tmp_path: Path, source: Source, out: Path) -> None:
    convert(source, out)
    second = convert(open_source(out), tmp_path / "second.vhd")
    assert second.read_bytes() == out.read_bytes()


def test_last_bytes_of_an_odd_file_are_kept_and_padded(tmp_path: Path, out: Path) -> None:
    disk = mbr_disk(tmp_path / "odd.raw")
    with disk.open("ab") as file:
        file.write(b"odd")
    convert(open_source(disk), out)
    assert data_of(out) == disk.read_bytes().ljust(41 * MIB, b"\0")


def test_nobody_else_reads_the_work_copy(source: Source, out: Path) -> None:
    source.path.chmod(0o644)
    with WorkCopy.create(source, out) as work:
        assert work.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("mode", "umask", "expected"),
    [
        (0o644, 0o022, 0o644),
        (0o600, 0o022, 0o600),
        (0o666, 0o027, 0o640),
        (0o444, 0o022, 0o644),
        (0o755, 0, 0o644),
    ],
)
def test_mode_of_the_output(source: Source, out: Path, mode: int, umask: int, expected: int) -> None:
    source.path.chmod(mode)
    before = os.umask(umask)
    try:
        convert(source, out)
    finally:
        os.umask(before)
    assert out.stat().st_mode & 0o777 == expected


def test_changes_go_into_the_output(source: Source, out: Path) -> None:
    with WorkCopy.create(source, out) as work:
        scatter(work.path, 30 * MIB)
        work.publish(fixed_footer(work.size, timestamp=1_700_000_000, unique_id=uuid.UUID(int=1)))
    assert any(data_of(out)[30 * MIB : 30 * MIB + 8192])
    assert not any(source.path.read_bytes()[30 * MIB : 30 * MIB + 8192])


def test_existing_output(source: Source, out: Path) -> None:
    out.write_bytes(b"old")
    assert isinstance(refusal(source, out), UsageError)
    assert out.read_bytes() == b"old"
    convert(source, out, force=True)
    assert data_of(out) == source.path.read_bytes()


def test_output_that_appeared_meanwhile(source: Source, out: Path) -> None:
    with WorkCopy.create(source, out) as work:
        out.write_bytes(b"somebody else's")
        with pytest.raises(UsageError, match="exists"):
            work.publish(bytes(512))
    assert out.read_bytes() == b"somebody else's"
    assert left_in(out.parent) == [out.name]


@pytest.mark.parametrize("kind", ["same", "hard", "symbolic", "partial"])
def test_output_that_is_the_source(source: Source, out: Path, kind: str) -> None:
    if kind == "hard":
        out.hardlink_to(source.path)
    elif kind == "symbolic":
        out.symlink_to(source.path)
    elif kind == "partial":
        out.with_name(f".{out.name}.partial").hardlink_to(source.path)
    before = sha256(source.path)
    error = refusal(source, source.path if kind == "same" else out, force=True)
    assert "source itself" in error.message
    assert sha256(source.path) == before


def test_output_through_a_link_replaces_the_file_behind_it(tmp_path: Path, source: Source, out: Path) -> None:
    link = tmp_path / "link.vhd"
    link.symlink_to(out)
    out.write_bytes(b"old")
    assert convert(source, link, force=True) == out
    assert link.is_symlink()


def test_folder_that_is_not_there(source: Source, tmp_path: Path) -> None:
    assert isinstance(refusal(source, tmp_path / "no" / "d.vhd"), UsageError)


def test_output_that_is_a_folder(source: Source, out: Path) -> None:
    out.mkdir()
    assert isinstance(refusal(source, out, force=True), UsageError)


def test_name_without_room_for_the_partial(source: Source, out: Path) -> None:
    assert isinstance(refusal(source, out.with_name("x" * 250)), HostError)


def test_folder_without_permission() -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        disk = gpt_disk(folder / "d.raw")
        disk.chmod(0o644)
        folder.chmod(0o555)
        with ordinary_user():
            assert isinstance(refusal(open_source(disk), folder / "d.vhd"), HostError)
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_folder_that_nobody_may_enter() -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        disk = gpt_disk(folder / "d.raw")
        disk.chmod(0o644)
        (folder / "closed").mkdir(mode=0o700)
        (folder / "closed").chmod(0)
        with ordinary_user():
            source = open_source(disk)
            with pytest.raises(HostError):
                WorkCopy.create(source, folder / "closed" / "d.vhd")
    finally:
        (folder / "closed").chmod(0o755)
        shutil.rmtree(folder)


def test_source_that_changed_before_the_copy(source: Source, out: Path) -> None:
    scatter(source.path, 25 * MIB)
    error = refusal(source, out)
    assert isinstance(error, ImageError)
    assert "changed" in error.message


def test_too_little_free_space_is_told_with_both_numbers(
    source: Source, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgfix.disk.workcopy.free_bytes", lambda _: 3 * MIB)
    monkeypatch.setattr(fault, "free_bytes", lambda _: 3 * MIB)
    error = refusal(source, out)
    assert isinstance(error, HostError)
    assert re.search(
        rf"{re.escape(str(out.parent))}: 3 MiB \({3 * MIB} bytes\) free, .* needed", error.message
    )


@pytest.mark.parametrize("call", ["fchmod", "fsync", "pwrite"])
def test_publishing_that_fails_keeps_the_old_output(
    source: Source, out: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    out.write_bytes(b"old")
    with WorkCopy.create(source, out, force=True) as work:
        monkeypatch.setattr(os, call, failing(errno.EIO))
        with pytest.raises(HostError):
            work.publish(bytes(512))
    assert out.read_bytes() == b"old"
    assert left_in(out.parent) == [out.name]


def test_work_copy_of_another_size_is_not_published(source: Source, out: Path) -> None:
    with WorkCopy.create(source, out) as work:
        os.truncate(work.path, MIB)
        with pytest.raises(HostError, match="expected"):
            work.publish(bytes(512))
    assert left_in(out.parent) == []


def test_work_copy_that_somebody_replaced_is_not_published(source: Source, out: Path) -> None:
    with WorkCopy.create(source, out) as work:
        work.path.unlink()
        sparse_file(work.path, work.size)
        with pytest.raises(HostError, match="replaced"):
            work.publish(bytes(512))
    assert not out.exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError, ValueError])
@pytest.mark.parametrize("moment", ["copying", "working"])
def test_nothing_is_left_after_any_exception(
    source: Source, out: Path, error: type[BaseException], moment: str
) -> None:
    def interrupt(*_: int) -> None:
        raise error

    out.write_bytes(b"old")
    before = open_descriptors()
    progress = interrupt if moment == "copying" else None
    with pytest.raises(error), WorkCopy.create(source, out, force=True, progress=progress):
        raise error
    assert out.read_bytes() == b"old"
    assert left_in(out.parent) == [out.name]
    assert open_descriptors() == before
    convert(source, out, force=True)


def open_descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208  # names of descriptors, not paths
