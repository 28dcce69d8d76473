"""The results boot in QEMU to a login on ttyS0, with the wanted command line and no swap.

Each boot is a group of its own: a worker that has time takes it.
"""

from __future__ import annotations

import pytest

from tests.boot import Boot
from tests.guests import checks
from tests.guests.workshop import Applied

pytestmark = pytest.mark.appliance

#: GRUB's own menu on ttyS0; SeaBIOS writes nothing there by itself.
MENU = b"GNU GRUB"
DRIVERS = ("hv_vmbus", "hv_storvsc", "hv_netvsc")
DEBIAN_WANTED = ["console=ttyS0", "earlyprintk=ttyS0", "net.ifnames=0"]
DEBIAN_UNWANTED = ["quiet", "splash", "rhgb", "rootdelay=300"]
EL9_WANTED = ["rootdelay=300", "console=ttyS0", "earlyprintk=ttyS0", "net.ifnames=0", "rd.lvm.lv=rhel/root"]
EL9_UNWANTED = ["quiet", "rhgb", "crashkernel=auto", "rd.lvm.lv=rhel/swap"]


@pytest.mark.xdist_group("debian12-bios")
def test_debian12_boots_by_bios_and_keeps_the_drivers_at_the_next_update(debian12: Applied) -> None:
    with Boot(debian12.vhd, "bios") as vm:
        failed = checks.boots(vm, DEBIAN_WANTED, DEBIAN_UNWANTED)
        assert MENU in vm.transcript
        print(f"systemctl --failed: {failed}")
        release = vm.check("uname -r").strip()
        vm.check(f"sudo update-initramfs -u -k {release}", timeout=1800)
        found = vm.check(
            f"sudo lsinitramfs /boot/initrd.img-{release} | grep -o 'hv_[a-z]*\\.ko'", timeout=600
        )
        assert {f"{driver}.ko" for driver in DRIVERS} <= set(found.split())
        vm.poweroff()


@pytest.mark.xdist_group("debian12-uefi")
def test_debian12_boots_by_uefi_without_boot_entries(debian12: Applied) -> None:
    with Boot(debian12.vhd, "uefi") as vm:
        failed = checks.boots(vm, DEBIAN_WANTED, DEBIAN_UNWANTED)
        print(f"systemctl --failed: {failed}")
        assert vm.check("test -d /sys/firmware/efi && echo uefi").strip() == "uefi"
        vm.poweroff()


@pytest.mark.xdist_group("el9-bios")
def test_el9_boots_by_bios(el9: Applied) -> None:
    with Boot(el9.vhd, "bios") as vm:
        failed = checks.boots(vm, EL9_WANTED, EL9_UNWANTED)
        assert MENU in vm.transcript
        print(f"systemctl --failed: {failed}")
        vm.poweroff()
