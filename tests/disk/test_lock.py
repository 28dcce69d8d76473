"""One writer an output, and the leftovers of killed ones."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from imgfix.disk.source import Source
from imgfix.disk.workcopy import WorkCopy
from imgfix.errors import HostError, UsageError
from tests.disk.disks import MIB, sha256
from tests.disk.emit import convert, data_of, left_in, refusal


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
    imgfix.disk.workcopy.sync_folder = stop
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


def test_leftover_with_a_second_name_is_not_emptied(source: Source, out: Path) -> None:
    keep = out.with_name("kept")
    keep.write_bytes(b"somebody's data")
    out.with_name(f".{out.name}.partial").hardlink_to(keep)
    convert(source, out)
    assert keep.read_bytes() == b"somebody's data"


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
