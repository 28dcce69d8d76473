"""The work copy: what is copied, what is refused, and that nothing is left behind."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from imgfix.disk import fault, sparse
from imgfix.disk.identity import footer_identity
from imgfix.disk.source import Source, open_source
from imgfix.disk.vhd import fixed_footer, parse_footer
from imgfix.disk.workcopy import WorkCopy
from imgfix.errors import HostError, ImageError, ImgfixError, UsageError
from tests.disk.disks import MIB, gpt_disk, mbr_disk, ordinary_user, run, scatter, sha256, sparse_file


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return open_source(gpt_disk(tmp_path / "d.raw"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "d.vhd"


def convert(source: Source, out: Path, *, force: bool = False) -> Path:
    """What emitting a disk without any change does."""
    timestamp, unique_id = footer_identity(source, {})
    with WorkCopy.create(source, out, force=force) as work:
        return work.publish(fixed_footer(work.size, timestamp=timestamp, unique_id=unique_id))


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def data_of(path: Path) -> bytes:
    """The guest's bytes of a fixed VHD, after a look at its footer."""
    content = path.read_bytes()
    return content[: parse_footer(content[-512:], len(content)).current_size]


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


# --- what is refused, and leaves everything as it was


def refusal(source: Source, out: Path, *, force: bool = False) -> ImgfixError:
    """The error, after a look at what stands in the output's folder, before and after."""
    folder = out.parent
    before = left_in(folder) if folder.is_dir() else []
    with pytest.raises(ImgfixError) as caught:
        WorkCopy.create(source, out, force=force)
    assert (left_in(folder) if folder.is_dir() else []) == before
    return caught.value


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
        shutil.rmtree(folder)


def test_source_that_changed_before_the_copy(source: Source, out: Path) -> None:
    scatter(source.path, 25 * MIB)
    error = refusal(source, out)
    assert isinstance(error, ImageError)
    assert "changed" in error.message


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


def failing(code: int) -> Callable[..., int]:
    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    return fail


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


# --- interrupted and killed


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


def test_second_imgfix_is_told_of_the_first(source: Source, out: Path) -> None:
    with WorkCopy.create(source, out) as work:
        with pytest.raises(HostError, match=rf"another imgfix \(pid {os.getpid()}\)"):
            WorkCopy.create(source, out)
        assert work.path.stat().st_size == work.size
    convert(source, out)


#: A child that says when it has reached a moment and then waits to be killed.
CHILD = """
import sys, uuid, signal
from pathlib import Path
from imgfix.disk.source import open_source
from imgfix.disk.vhd import fixed_footer
from imgfix.disk.workcopy import WorkCopy

def stop(*_):
    print("here", flush=True)
    signal.pause()

disk, out, moment = sys.argv[1:]
progress = stop if moment == "copying" else None
if moment == "publishing":
    import os
    os.fsync = stop
if moment == "renamed":
    import imgfix.disk.workcopy
    imgfix.disk.workcopy._sync_folder = stop
with WorkCopy.create(open_source(Path(disk)), Path(out), force=True, progress=progress) as work:
    if moment == "working":
        stop()
    work.publish(fixed_footer(work.size, timestamp=1_700_000_000, unique_id=uuid.UUID(int=1)))
"""


@pytest.mark.parametrize("moment", ["copying", "working", "publishing", "renamed"])
def test_killed(source: Source, out: Path, moment: str) -> None:
    out.write_bytes(b"old")
    before = sha256(source.path)
    with subprocess.Popen(
        (sys.executable, "-c", CHILD, source.path, out, moment), stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        ready, _, _ = select.select([child.stdout], [], [], 60)
        assert ready
        assert child.stdout.readline() == b"here\n"
        if moment != "renamed":
            with pytest.raises(HostError, match=rf"pid {child.pid}"):
                WorkCopy.create(source, out, force=True)
        child.send_signal(signal.SIGKILL)
    assert sha256(source.path) == before
    assert (data_of(out) == source.path.read_bytes()) if moment == "renamed" else out.read_bytes() == b"old"
    convert(source, out, force=True)
    assert data_of(out) == source.path.read_bytes()
    assert left_in(out.parent) == [out.name]


def test_leftover_of_a_killed_run_does_not_shine_through_the_holes(source: Source, out: Path) -> None:
    out.with_name(f".{out.name}.partial").write_bytes(b"old" * MIB * 20)
    convert(source, out)
    assert data_of(out) == source.path.read_bytes()


def test_partial_that_is_published_while_we_wait_for_its_lock_is_not_ours(
    source: Source, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our open and our lock the other imgfix renames the file: its output must not be emptied."""
    partial, theirs = out.with_name(f".{out.name}.partial"), out.with_name("theirs.vhd")
    partial.write_bytes(b"complete")
    real = fcntl.flock

    def flock(fd: int, operation: int) -> None:
        if not theirs.exists():
            partial.rename(theirs)
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    convert(source, out)
    assert theirs.read_bytes() == b"complete"
    assert left_in(out.parent) == [out.name, "theirs.vhd"]


def test_leftover_with_a_second_name_is_not_emptied(source: Source, out: Path) -> None:
    keep = out.with_name("kept")
    keep.write_bytes(b"somebody's data")
    out.with_name(f".{out.name}.partial").hardlink_to(keep)
    convert(source, out)
    assert keep.read_bytes() == b"somebody's data"


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_something_else_in_the_way_of_the_partial(source: Source, out: Path, kind: str) -> None:
    partial = out.with_name(f".{out.name}.partial")
    target = out.with_name("precious")
    target.write_bytes(b"precious")
    make: dict[str, Callable[[], None]] = {
        "link": lambda: partial.symlink_to(target),
        "pipe": lambda: os.mkfifo(partial),
        "folder": partial.mkdir,
    }
    make[kind]()
    assert isinstance(refusal(source, out), HostError | UsageError)
    assert target.read_bytes() == b"precious"
