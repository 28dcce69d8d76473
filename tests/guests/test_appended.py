"""Appended drivers: the disk is on a controller whose driver only the appended archive holds, and the guest boots.

VMware's controller stands for Hyper-V's, which QEMU does not have: the same code adds both drivers.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from imgfix.facts.initramfs import read_initramfs
from tests.boot import Boot
from tests.guests import checks, result
from tests.guests.conftest import APPENDED
from tests.guests.result import shell
from tests.guests.workshop import Applied

pytestmark = pytest.mark.appliance

DRIVERS = {"hv_vmbus", "hv_storvsc", "hv_netvsc", "vmw_pvscsi"}


def _boots_from_the_added_driver(done: Applied, unwanted: list[str]) -> None:
    with Boot(done.vhd, "bios", controller="pvscsi") as vm:
        checks.boots(vm, ["console=ttyS0", "net.ifnames=0"], unwanted)
        assert "vmw_pvscsi" in vm.check("cat /sys/class/scsi_host/*/proc_name")
        vm.poweroff()


def _holds(handle: Any, image: str) -> frozenset[str]:
    data = bytes(handle.read_file(image))
    return read_initramfs(io.BytesIO(data), image, len(data)).modules


def _only_what_it_lacked_was_added(done: Applied, folder: Path, lister: str) -> None:
    """The image begins with the old one, byte for byte; the generator's own lister still takes it."""
    with result.opened(done.vhd, folder) as handle:
        backups = handle.glob_expand("/boot/init*.bak")
        assert backups
        for backup in backups:
            image = backup.removesuffix(".bak")
            assert not DRIVERS & _holds(handle, backup)
            assert _holds(handle, image) >= DRIVERS
            size = handle.filesize(backup)
            shell(handle, f"cmp -n {size} {image} {backup}")
            assert size < handle.filesize(image) < size + (4 << 20)
            assert "virtio_blk" in shell(handle, f"{lister} {image}")


@pytest.mark.xdist_group("debian12-appended")
def test_debian12_boots_from_a_driver_that_was_appended(debian12_appended: Applied) -> None:
    assert "appending " in debian12_appended.run.stderr
    assert "rebuilding initramfs" not in debian12_appended.run.stderr
    _boots_from_the_added_driver(debian12_appended, ["quiet", "splash"])


@pytest.mark.xdist_group("debian12-appended")
def test_debian12_holds_the_old_image_and_the_drivers(debian12_appended: Applied, tmp_path: Path) -> None:
    _only_what_it_lacked_was_added(debian12_appended, tmp_path, "lsinitramfs")


@pytest.mark.xdist_group("el9-appended")
def test_el9_boots_from_a_driver_that_was_appended(el9_appended: Applied) -> None:
    assert "appending " in el9_appended.run.stderr
    assert "rebuilding initramfs" not in el9_appended.run.stderr
    _boots_from_the_added_driver(el9_appended, ["rhgb", "quiet", "rd.lvm.lv=rhel/swap"])


@pytest.mark.xdist_group("el9-appended")
def test_el9_holds_the_old_image_and_the_drivers(el9_appended: Applied, tmp_path: Path) -> None:
    _only_what_it_lacked_was_added(el9_appended, tmp_path, "lsinitrd")


@pytest.mark.xdist_group("el9-appended")
def test_twice_is_once(el9_appended: Applied, tmp_path: Path) -> None:
    checks.twice_is_once(el9_appended, "rhel.yaml", tmp_path, *APPENDED)
