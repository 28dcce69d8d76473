"""A slice of scripts/bench/kill: what is killed, or out of space, leaves nothing, and a rerun succeeds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guests import crash, sweep

pytestmark = [pytest.mark.appliance, pytest.mark.xdist_group("plain")]

POINTS = (
    ("in-place", "committed", "killed; journal to complete"),
    ("copy-qemu", "edit-0", "status 4; source as it was, old output"),
    ("copy-space", "edit-0", "status 4, "),
    ("guest-full", "/boot/big", "status 5, 1000000 bytes needed, "),
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[crash.Bench]:
    """A small disk and a folder for it."""
    bench = crash.Bench(tmp_path_factory.mktemp("sweep"))
    yield bench
    bench.unmount()


@pytest.mark.parametrize(("name", "moment", "came"), POINTS)
def test_an_apply_that_is_cut_short(bench: crash.Bench, name: str, moment: str, came: str) -> None:
    case = next(case for case in crash.CASES if case.name == name)
    assert sweep.check(bench, case, moment).startswith(came)


def test_a_sector_that_cannot_be_read(bench: crash.Bench) -> None:
    case = next(case for case in crash.CASES if case.name == "copy-eio")
    disk = bench.fresh()
    came = sweep.spoil(bench, disk, case, str(1 << 20))
    assert came == f"status 4, error: {disk}: cannot be read at byte {1 << 20}: Input/output error"
    assert sorted(path.name for path in Path(disk.parent).iterdir()) == ["d.raw", "d.vhd"]
