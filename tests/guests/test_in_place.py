"""A whole apply in place, on a small guest with the real appliance, and one that is killed while it merges."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from imgfix.disk import fault
from tests.disks import crowd
from tests.guests.workshop import Run, imgfix, sha256

#: No package database, no programs: what needs them is left alone.
SETTING = "packages.missing=warn"

pytestmark = [pytest.mark.appliance, pytest.mark.xdist_group("batch")]


def _apply(disk: Path, *options: str | Path, killed_at: str = "") -> Run:
    words = ("apply", "auto", disk, "--in-place", "--set", SETTING, *options)
    return imgfix(*words, folder=disk.parent.with_name("run"), environment={fault.KILL_AT: killed_at})


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    return crowd.guest(folder / "d.raw", "debian")


def _left(disk: Path) -> list[str]:
    return sorted(path.name for path in disk.parent.iterdir())


def test_the_disk_becomes_the_vhd_and_twice_is_once(disk: Path) -> None:
    vhd = disk.with_suffix(".vhd")
    inode = disk.stat().st_ino
    run = _apply(disk)
    assert (run.status, run.launches) == (0, 1), run.stderr
    assert _left(disk) == [vhd.name]
    assert vhd.stat().st_ino == inode
    verified = imgfix(
        "verify", vhd, "--against", "auto", "--set", SETTING, folder=disk.parent.with_name("run")
    )
    assert verified.status == 0, verified.stdout + verified.stderr
    before = sha256(vhd)
    again = _apply(vhd)
    assert again.status == 0, again.stderr
    assert (_left(disk), sha256(vhd)) == ([vhd.name], before)


def test_killed_while_it_merges_it_is_refused_and_recovered(disk: Path) -> None:
    run = _apply(disk, killed_at="committed")
    assert run.status == -signal.SIGKILL, run.stderr
    refused = imgfix("inspect", disk, folder=disk.parent.with_name("run"))
    assert refused.status == 3
    assert f"imgfix recover {disk}" in refused.stderr
    completed = _apply(disk)
    assert completed.status == 0, completed.stderr
    vhd = disk.with_suffix(".vhd")
    assert f"ready: {vhd}" in completed.stdout
    assert _left(disk) == [vhd.name]
    verified = imgfix(
        "verify", vhd, "--against", "auto", "--set", SETTING, folder=disk.parent.with_name("run")
    )
    assert verified.status == 0, verified.stdout + verified.stderr
