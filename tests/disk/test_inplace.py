"""A change in place: the same bytes as by a copy, and at every moment the old disk or one that can be completed."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from imgfix.disk import fault, inplace, interrupted, journal
from imgfix.disk.identity import footer_identity
from imgfix.disk.inplace import InPlace, recover
from imgfix.disk.source import Source, open_source
from imgfix.disk.vhd import fixed_footer
from imgfix.disk.workcopy import WorkCopy
from imgfix.errors import HostError, ImageError, ImgfixError, UsageError
from tests.disk.disks import MIB, gpt_disk, mbr_disk, run, sha256
from tests.disk.emit import convert, left_in

#: What an appliance does to the disk: blocks written, in data and in holes, at its end, and given back.
CHANGES = ("write -q -P 7 1M 3M", "write -q -P 9 20M 64k", "write -q -P 3 39935k 1k", "write -q -z 2M 512k")

#: Dies where IMGFIX_KILL_AT says.
CHILD = """
import sys
from pathlib import Path
from imgfix.disk.source import open_source
from tests.disk.test_inplace import in_place
in_place(open_source(Path(sys.argv[1])), Path(sys.argv[2]))
"""

#: Holds what QEMU holds of an image that it may write to, until its standard input ends.
_HOLD = """
import fcntl, sys
with open(sys.argv[1], "r+b") as stream:
    fcntl.lockf(stream, fcntl.LOCK_SH, 1, 101)
    print("x", end="", flush=True)
    sys.stdin.read()
"""

#: Boundaries in their order; the disk is decided on at the journal.
BEFORE = ("overlay", "before-journal")
AFTER = ("journal", "committed", "merged", "merged-journal", "renamed", "published")


def _change(work: WorkCopy | InPlace) -> None:
    options = [word for change in CHANGES for word in ("-c", change)]
    run("qemu-io", "-f", work.image_format, *options, work.path)


def _footer(source: Source, size: int) -> bytes:
    timestamp, unique_id = footer_identity(source, {})
    return fixed_footer(size, timestamp=timestamp, unique_id=unique_id)


def in_place(source: Source, out: Path, *, force: bool = False, least: int = 0) -> Path:
    with InPlace.create(source, out, force=force, least=least) as work:
        _change(work)
        return work.publish(_footer(source, work.size))


def by_copy(source: Source, out: Path, *, least: int = 0) -> Path:
    with WorkCopy.create(source, out, least=least) as work:
        _change(work)
        return work.publish(_footer(source, work.size))


def _refused(kind: type[ImgfixError], match: str, source: Source, out: Path, *, force: bool = False) -> None:
    before, names = sha256(source.path), left_in(source.path.parent)
    with pytest.raises(kind, match=match):
        in_place(source, out, force=force)
    assert (sha256(source.path), left_in(source.path.parent)) == (before, names)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return gpt_disk(tmp_path / "work" / "d.raw", 40 * MIB - 512)


@pytest.mark.parametrize("size", [40 * MIB, 40 * MIB - 512])
@pytest.mark.parametrize("make", [gpt_disk, mbr_disk])
def test_it_is_what_a_copy_would_be(tmp_path: Path, size: int, make: type) -> None:
    disk = make(tmp_path / "d.raw", size)
    copied = by_copy(open_source(disk), tmp_path / "copy.vhd")
    inode = disk.stat().st_ino
    assert in_place(open_source(disk), tmp_path / "d.vhd").stat().st_ino == inode
    assert (tmp_path / "d.vhd").read_bytes() == copied.read_bytes()
    assert left_in(tmp_path) == ["copy.vhd", "d.vhd"]


def test_a_larger_disk_is_what_a_copy_would_be(disk: Path, tmp_path: Path) -> None:
    copied = by_copy(open_source(disk), tmp_path / "copy.vhd", least=100 * MIB)
    assert copied.stat().st_size == 100 * MIB + 512
    run("sgdisk", "--verify", copied)
    vhd = in_place(open_source(disk), disk.with_suffix(".vhd"), least=100 * MIB)
    assert vhd.read_bytes() == copied.read_bytes()
    assert vhd.stat().st_blocks * 512 < 20 * MIB


def test_a_vhd_stays_under_its_name_and_loses_its_old_footer(tmp_path: Path) -> None:
    """A VHD of a size that Azure would refuse, so that its old footer lies inside the new disk."""
    disk = mbr_disk(tmp_path / "d.raw", 40 * MIB - 512)
    vhd = tmp_path / "d.vhd"
    vhd.write_bytes(disk.read_bytes())
    with vhd.open("ab") as stream:
        stream.write(
            fixed_footer(
                40 * MIB - 512, timestamp=1_700_000_000, unique_id=footer_identity(open_source(disk), {})[1]
            )
        )
    copied = by_copy(open_source(vhd), tmp_path / "copy.vhd")
    assert in_place(open_source(vhd), vhd) == vhd
    assert vhd.read_bytes() == copied.read_bytes()
    assert left_in(tmp_path) == ["copy.vhd", "d.raw", "d.vhd"]


def test_leaving_without_publishing_leaves_the_disk_alone(disk: Path) -> None:
    before = sha256(disk)
    with InPlace.create(open_source(disk), disk.with_suffix(".vhd")) as work:
        _change(work)
        assert work.path.stat().st_mode & 0o777 == 0o600
    assert (sha256(disk), left_in(disk.parent)) == (before, ["d.raw"])


def _killed(disk: Path, moment: str) -> None:
    argv = (sys.executable, "-c", CHILD, str(disk), str(disk.with_suffix(".vhd")))
    done = subprocess.run(argv, env={**os.environ, fault.KILL_AT: moment}, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@pytest.mark.parametrize("moment", BEFORE)
def test_killed_before_the_journal_the_disk_is_as_it_was(disk: Path, moment: str) -> None:
    before = sha256(disk)
    _killed(disk, moment)
    assert sha256(disk) == before
    assert recover(disk) is None
    in_place(open_source(disk), disk.with_suffix(".vhd"))
    assert left_in(disk.parent) == ["d.vhd"]


@pytest.mark.parametrize("moment", AFTER)
def test_killed_after_the_journal_the_disk_is_completed(tmp_path: Path, disk: Path, moment: str) -> None:
    wanted = by_copy(open_source(disk), tmp_path / "copy.vhd").read_bytes()
    _killed(disk, moment)
    if disk.exists():
        with pytest.raises(ImageError, match="interrupted while it was being written") as caught:
            open_source(disk)
        assert caught.value.hint == f"complete it first: imgfix recover {disk}"
    assert recover(disk) == disk.with_suffix(".vhd")
    assert (tmp_path / "work" / "d.vhd").read_bytes() == wanted
    assert left_in(disk.parent) == ["d.vhd"]
    assert recover(disk) is None


def test_a_torn_merge_is_done_again(tmp_path: Path, disk: Path) -> None:
    """Whatever half of a merge left in the places that it writes to, the next one puts right."""
    wanted = by_copy(open_source(disk), tmp_path / "copy.vhd").read_bytes()
    _killed(disk, "journal")
    with disk.open("r+b") as stream:
        for offset, length in ((1 * MIB, 2 * MIB), (20 * MIB, 4096), (40 * MIB - 1024, 512)):
            stream.seek(offset)
            stream.write(os.urandom(length))
    recover(disk)
    assert disk.with_suffix(".vhd").read_bytes() == wanted


def test_recovery_itself_may_be_killed(tmp_path: Path, disk: Path) -> None:
    wanted = by_copy(open_source(disk), tmp_path / "copy.vhd").read_bytes()
    _killed(disk, "journal")
    for moment in AFTER[1:]:
        argv = (sys.executable, "-m", "imgfix", "recover", str(disk))
        done = subprocess.run(argv, env={**os.environ, fault.KILL_AT: moment}, check=False)
        assert done.returncode == -signal.SIGKILL
    assert recover(disk) == disk.with_suffix(".vhd")
    assert disk.with_suffix(".vhd").read_bytes() == wanted


def test_the_command_says_what_it_did(disk: Path) -> None:
    argv = (sys.executable, "-m", "imgfix", "recover", str(disk))
    nothing = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "nothing to recover" in nothing.stdout
    _killed(disk, "committed")
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert f"ready: {disk.with_suffix('.vhd')}" in done.stdout


def test_moved_together_they_are_completed_elsewhere(tmp_path: Path, disk: Path) -> None:
    wanted = by_copy(open_source(disk), tmp_path / "copy.vhd").read_bytes()
    _killed(disk, "journal")
    disk.parent.rename(tmp_path / "elsewhere")
    assert recover(tmp_path / "elsewhere" / "d.raw") == tmp_path / "elsewhere" / "d.vhd"
    assert (tmp_path / "elsewhere" / "d.vhd").read_bytes() == wanted


def _tool(disk: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a qemu-img in front of the real one that runs `script` first."""
    folder = disk.parent.with_name("bin")
    folder.mkdir()
    tool = folder / "qemu-img"
    real = run("sh", "-c", "command -v qemu-img").strip()
    tool.write_text(f'#!/bin/sh\n{script}\nexec {real} "$@"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return tool


def test_a_merge_that_fails_keeps_all_that_is_needed(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = by_copy(open_source(disk), tmp_path / "copy.vhd").read_bytes()
    broken = _tool(disk, '[ "$1" = commit ] && { echo "No space left on device" >&2; exit 1; }', monkeypatch)
    told = (
        r"complete and verified, but not all of them.*no space for merging the changes in .* free, .* needed"
    )
    with pytest.raises(HostError, match=told) as caught:
        in_place(open_source(disk), disk.with_suffix(".vhd"))
    assert f"imgfix recover {disk}" in str(caught.value.hint)
    broken.unlink()
    recover(disk)
    assert disk.with_suffix(".vhd").read_bytes() == wanted


def test_the_lock_is_held_until_all_is_merged(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = disk.parent.with_name("seen")
    _tool(
        disk,
        f'[ "$1" = commit ] && {{ flock -n {disk} true && echo free || echo held; }} >{seen}',
        monkeypatch,
    )
    in_place(open_source(disk), disk.with_suffix(".vhd"))
    assert seen.read_text() == "held\n"


def test_a_journal_that_cannot_be_written_leaves_the_disk_alone(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sha256(disk)
    monkeypatch.setattr(journal, "write", _interrupted)
    with pytest.raises(KeyboardInterrupt):
        in_place(open_source(disk), disk.with_suffix(".vhd"))
    assert (sha256(disk), left_in(disk.parent)) == (before, ["d.raw"])


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_without_its_overlay_nothing_is_done(disk: Path) -> None:
    _killed(disk, "journal")
    interrupted.overlay_path(disk).rename(disk.parent / "saved")
    before = sha256(disk)
    with pytest.raises(ImageError, match="is missing; it holds the changes"):
        recover(disk)
    assert sha256(disk) == before
    (disk.parent / "saved").rename(interrupted.overlay_path(disk))
    assert recover(disk) is not None


def test_another_file_under_the_disks_name_is_left_alone(disk: Path) -> None:
    _killed(disk, "journal")
    disk.rename(disk.with_name("kept"))
    disk.write_bytes(b"other")
    with pytest.raises(ImageError, match="is neither there nor at"):
        recover(disk)
    assert disk.read_bytes() == b"other"


WHOLE = {
    "version": 1,
    "inode": 1,
    "output": "x",
    "size": 1 << 20,
    "footer": "0" * 1024,
    "merged": False,
}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{}",
        "[]",
        "\xff",
        "[" * 100_000,
        json.dumps({**WHOLE, "version": 2}),
        json.dumps({**WHOLE, "inode": "1"}),
        json.dumps({**WHOLE, "inode": True}),
        json.dumps({**WHOLE, "merged": 0}),
        json.dumps({**WHOLE, "size": 513}),
        json.dumps({**WHOLE, "size": 0}),
        json.dumps({**WHOLE, "footer": "0" * 1022 + "zz"}),
        json.dumps({**WHOLE, "footer": "0" * 1023}),
        json.dumps({**WHOLE, "more": 1}),
        '{"inode": 1, "output": "x", "size": 1}',
    ],
)
def test_a_journal_that_cannot_be_read_is_refused(disk: Path, text: str) -> None:
    interrupted.journal_path(disk).write_bytes(text.encode("latin-1"))
    with pytest.raises(ImageError, match="journal of a change in place cannot be read"):
        recover(disk)


def test_one_imgfix_an_image(disk: Path) -> None:
    out = disk.with_suffix(".vhd")
    with InPlace.create(open_source(disk), out):
        with pytest.raises(HostError, match=rf"another imgfix \(pid {os.getpid()}\) is using"):
            InPlace.create(open_source(disk), out)
        with pytest.raises(HostError, match=r"another imgfix.* is changing"):
            WorkCopy.create(open_source(disk), out)
        assert interrupted.overlay_path(disk).exists()
    with (
        WorkCopy.create(open_source(disk), out),
        pytest.raises(HostError, match=r"another imgfix.* is using"),
    ):
        InPlace.create(open_source(disk), out)
    convert(open_source(disk), out)


def test_a_disk_that_a_machine_writes_to_is_left_alone(disk: Path) -> None:
    """Before the work, and when a machine was started in the meantime; by the lock that QEMU holds."""
    source, out = open_source(disk), disk.with_suffix(".vhd")
    with disk.open("r+b") as stream:
        fcntl.lockf(stream, fcntl.LOCK_SH, 1, 101)
        done = subprocess.run((sys.executable, "-c", CHILD, disk, out), capture_output=True, check=False)
        assert b"another process has it open for writing" in done.stderr
    before = sha256(disk)
    with InPlace.create(source, out) as work:
        _change(work)
        argv = (sys.executable, "-c", _HOLD, disk)
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as machine:
            assert machine.stdout is not None
            machine.stdout.read(1)
            with pytest.raises(ImageError, match="open for writing"):
                work.publish(_footer(source, work.size))
            machine.communicate()
    assert (sha256(disk), left_in(disk.parent)) == (before, ["d.raw"])


def test_what_cannot_be_done_in_place(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = disk.with_suffix(".vhd")
    source = open_source(disk)
    _refused(UsageError, "there is no such folder", source, tmp_path / "nowhere" / "d.vhd")
    _refused(UsageError, "lies on another file system", source, Path("/dev/shm/imgfix-test.vhd"))
    out.write_bytes(b"old")
    _refused(UsageError, "exists already", source, out)
    os.link(disk, disk.with_name("other"))
    _refused(UsageError, "has 2 names", source, out, force=True)
    disk.with_name("other").unlink()
    monkeypatch.setattr(inplace, "free_bytes", lambda _: 4096)
    _refused(HostError, r"no space for the changes .* needed", source, out, force=True)
    monkeypatch.undo()
    in_place(source, out, force=True)
    assert left_in(disk.parent) == ["d.vhd"]


def test_a_disk_that_somebody_changes_meanwhile_is_left_alone(disk: Path) -> None:
    source = open_source(disk)
    with InPlace.create(source, disk.with_suffix(".vhd")) as work:
        with disk.open("r+b") as stream:
            stream.seek(30 * MIB)
            stream.write(b"x")
        before = sha256(disk)
        with pytest.raises(ImageError, match="changed while imgfix worked on it"):
            work.publish(_footer(source, work.size))
    assert (sha256(disk), left_in(disk.parent)) == (before, ["d.raw"])
