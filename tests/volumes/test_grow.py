"""How a root can grow, as far as that is arithmetic; real disks grow in tests/guests/test_grow.py."""

from __future__ import annotations

from typing import Any, cast

import pytest

from imgfix.appliance import Appliance
from imgfix.disk.size import GIB, MIB, TIB
from imgfix.errors import GuestError, ImgfixError
from imgfix.facts.model import Filesystem, LogicalVolume, Storage
from imgfix.volumes import grow


class _Disk:
    """Answers as an appliance with a disk of `size` bytes, partitions (number: start, end) in MiB, and one VG."""

    def __init__(self, size: int, parts: dict[int, tuple[int, int]], free: int = 0) -> None:
        self._size = size
        self._parts = parts
        self._free = free

    def call(self, verb: str, *_args: object) -> Any:
        if verb == "part_list":
            return [
                {"part_num": number, "part_start": start * MIB, "part_end": end * MIB - 1}
                for number, (start, end) in self._parts.items()
            ]
        assert verb == "blockdev_getsize64"
        return self._size

    def shell(self, script: str) -> tuple[int, str]:
        if script.startswith("pvs"):
            return 0, "  /dev/sda1 data\n  /dev/sda3 rhel\n  /dev/sda2 rhel"
        assert script == "vgs --noheadings -o vg_free_count rhel"
        return 0, f"  {self._free}"


def _storage(device: str = "/dev/sda1", fstype: str = "ext4", scheme: str | None = "gpt") -> Storage:
    return Storage(
        scheme,
        (
            Filesystem("/dev/sda2", "swap", partition=2),
            Filesystem(device, fstype, mountpoint="/"),
        ),
        (LogicalVolume("rhel", "root", "/dev/rhel/root"),),
    )


def _plan(
    disk: _Disk, storage: Storage, *, last: bool = True
) -> tuple[tuple[int, int] | None, str | None, str | None] | None:
    found = grow.plan(cast(Appliance, disk), storage, last=last)
    if found is None:
        return None
    part = (found.partition.number, found.partition.end // MIB) if found.partition else None
    return part, found.pv, found.lv


def _refused(kind: type[ImgfixError], match: str, disk: _Disk, storage: Storage) -> None:
    with pytest.raises(kind, match=match) as caught:
        _plan(disk, storage)
    assert caught.value.hint is not None
    assert "--grow-root" in caught.value.hint


@pytest.mark.parametrize("scheme", ["gpt", "mbr"])
def test_the_last_partition_takes_what_is_behind_it(scheme: str) -> None:
    assert _plan(_Disk(4 * GIB, {2: (1, 9), 1: (9, 1023)}), _storage(scheme=scheme)) == (
        (1, 4096 if scheme == "mbr" else 4095),
        None,
        None,
    )


@pytest.mark.parametrize(("scheme", "end"), [("gpt", 1023), ("mbr", 1024)])
def test_one_that_ends_the_disk_is_left_alone(scheme: str, end: int) -> None:
    assert _plan(_Disk(GIB, {1: (1, end)}), _storage(scheme=scheme)) is None


def test_an_mbr_reaches_no_further_than_its_numbers() -> None:
    assert _plan(_Disk(3 * TIB, {1: (1, 2 * TIB // MIB)}), _storage(scheme="mbr")) is None
    assert _plan(_Disk(3 * TIB, {1: (1, 2 * TIB // MIB)}), _storage(scheme="gpt")) == (
        (1, 3 * TIB // MIB - 1),
        None,
        None,
    )


def test_space_in_front_of_another_partition_is_not_taken() -> None:
    _refused(
        GuestError,
        "partition 3 lies behind partition 1",
        _Disk(GIB, {1: (1, 500), 3: (600, 1023)}),
        _storage(),
    )


def test_a_swap_partition_in_the_way_may_go_first() -> None:
    disk = _Disk(4 * GIB, {1: (1, 500), 2: (500, 600)})
    assert _plan(disk, _storage(), last=False) is None
    _refused(GuestError, "partition 2 lies behind partition 1", disk, _storage())


def test_any_other_partition_in_the_way_is_told_at_once() -> None:
    disk = _Disk(4 * GIB, {1: (1, 500), 3: (500, 600)})
    with pytest.raises(GuestError, match="partition 3 lies behind partition 1"):
        _plan(disk, _storage(), last=False)


def test_a_volume_grows_from_the_outside_in() -> None:
    storage = _storage("/dev/rhel/root", "xfs")
    parts = {1: (1, 9), 2: (9, 500), 3: (500, 1023)}
    assert _plan(_Disk(4 * GIB, parts), storage) == ((3, 4095), "/dev/sda3", "/dev/rhel/root")
    assert _plan(_Disk(GIB, parts), storage) is None
    assert _plan(_Disk(GIB, parts, free=7), storage) == (None, None, "/dev/rhel/root")


def test_a_volume_whose_partition_is_shut_in_stays() -> None:
    disk = _Disk(GIB, {2: (9, 500), 3: (500, 700), 4: (700, 1023)}, free=7)
    _refused(GuestError, "partition 4 lies behind partition 3", disk, _storage("/dev/rhel/root", "xfs"))


@pytest.mark.parametrize(
    ("storage", "match"),
    [
        (_storage("/dev/mapper/root_crypt"), "encrypted or in an array"),
        (_storage("/dev/md127"), "encrypted or in an array"),
        (_storage(fstype="f2fs"), "is f2fs, which imgfix does not grow"),
        (_storage("/dev/sda", scheme=None), "no partition table"),
        (_storage("/dev/sda5", scheme="mbr"), "a logical one"),
    ],
)
def test_what_is_not_grown(storage: Storage, match: str) -> None:
    _refused(GuestError, match, _Disk(4 * GIB, {1: (1, 2), 5: (3, 500)}), storage)
