"""Debian 12: initramfs-tools, packages from its own repositories, BIOS and UEFI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imgfix.facts.efi import EfiProgram, Kind, read_program
from imgfix.textedit import grubcfg
from tests.guests import checks
from tests.guests.result import shell
from tests.guests.workshop import Applied

pytestmark = [pytest.mark.appliance, pytest.mark.xdist_group("debian12")]

DRIVERS = ("hv_vmbus", "hv_storvsc", "hv_netvsc")


def test_the_source_is_untouched(debian12: Applied) -> None:
    checks.source_is_untouched(debian12)


def test_two_launches_fetch_packages_and_do_the_rest(debian12: Applied) -> None:
    assert debian12.run.launches == 2


def test_the_result_is_a_fixed_vhd_with_a_clean_partition_table(debian12: Applied, tmp_path: Path) -> None:
    checks.is_a_fixed_vhd_of_whole_mib(debian12.vhd)
    checks.partition_table_is_clean(debian12.vhd, tmp_path)


def test_file_systems_are_clean(debian12_opened: Any) -> None:
    checks.file_systems_are_clean(debian12_opened, {"/dev/sda2": "fsck.vfat -n", "/dev/sda3": "e2fsck -f -n"})


def test_lsinitramfs_finds_the_drivers_in_every_image(debian12_opened: Any) -> None:
    images = [f"/boot/{name}" for name in debian12_opened.ls("/boot") if name.startswith("initrd.img-")]
    kernels = [image for image in images if not image.endswith(".bak")]
    assert len(kernels) == len(debian12_opened.glob_expand("/boot/vmlinuz-*"))
    for image in kernels:
        found = shell(debian12_opened, f"lsinitramfs {image} | grep -o 'hv_[a-z]*\\.ko'")
        assert {f"{driver}.ko" for driver in DRIVERS} <= set(found.split()), image
        assert f"{image}.bak" in images


def test_the_guests_modprobe_loads_what_azure_needs(debian12_opened: Any) -> None:
    """By the names that the kernel and udev load them by, in which modprobe heeds what disables a module."""
    assert "\ninstall cramfs /bin/true\n" in debian12_opened.cat("/etc/modprobe.d/CIS.conf")
    for release in debian12_opened.ls("/lib/modules"):
        alias = shell(debian12_opened, f"grep ' hv_netvsc$' /lib/modules/{release}/modules.alias").split()[1]
        for name, module in (("fs-udf", "udf"), ("fs-vfat", "vfat"), (alias, "hv_netvsc")):
            found = shell(debian12_opened, f"modprobe -S {release} -D {name}")
            assert f"/{module}.ko" in found, (release, name, found)


def test_shim_is_at_the_path_that_uefi_starts(debian12_opened: Any) -> None:
    """Debian's own signed programs, which read_program tells apart, and what they start beside them."""
    pairs = {"BOOTX64.EFI": "shimx64.efi", "grubx64.efi": "grubx64.efi", "mmx64.efi": "mmx64.efi"}
    folder = "/boot/efi/EFI"
    for copy, original in pairs.items():
        assert debian12_opened.checksum("sha256", f"{folder}/BOOT/{copy}") == debian12_opened.checksum(
            "sha256", f"{folder}/debian/{original}"
        )
    shim = read_program(debian12_opened.read_file(f"{folder}/BOOT/BOOTX64.EFI"))
    assert shim == EfiProgram(Kind.SHIM, "x64", True, stage="grubx64.efi", fallback="fbx64.efi")
    grub = read_program(debian12_opened.read_file(f"{folder}/BOOT/grubx64.efi"))
    assert grub == EfiProgram(Kind.GRUB, "x64", True, prefix="/EFI/debian", beside=True)
    assert debian12_opened.is_file(f"{folder}/debian/grub.cfg")


def test_packages_are_installed_and_their_units_enabled(debian12_opened: Any) -> None:
    status = shell(debian12_opened, "dpkg-query -W -f '${Package} ${db:Status-Status}\\n'")
    wanted = {"waagent", "cloud-init", "cloud-guest-utils", "gdisk", "hyperv-daemons", "openssh-server"}
    assert wanted <= {line.split()[0] for line in status.splitlines() if line.endswith(" installed")}
    for unit in (
        "ssh",
        "walinuxagent",
        "cloud-init-local",
        "cloud-final",
        "hv-kvp-daemon",
        "serial-getty@ttyS0",
    ):
        assert shell(debian12_opened, f"systemctl is-enabled {unit}.service").strip() == "enabled", unit


def test_the_guests_own_parsers_accept_what_was_written(debian12_opened: Any) -> None:
    checks.cloud_init_is_as_wanted(debian12_opened)
    checks.waagent_reads(
        debian12_opened,
        {"Provisioning.Agent": "cloud-init", "ResourceDisk.Format": "n", "ResourceDisk.EnableSwap": "n"},
    )
    checks.ssh_server_accepts_its_configuration(debian12_opened)
    shell(debian12_opened, "grub-script-check /boot/grub/grub.cfg")
    assert grubcfg.is_on_serial(debian12_opened.cat("/boot/grub/grub.cfg"))
    shell(debian12_opened, "sh -n /etc/default/grub")
    checks.fstab_is_accepted(debian12_opened)
    assert shell(debian12_opened, "ifquery --list").split() == ["lo", "eth0"]
    assert shell(debian12_opened, "ifquery eth0").strip() == ""


def test_it_is_generalized_and_has_no_swap(debian12_opened: Any) -> None:
    checks.is_generalized(debian12_opened, ["/root", "/home/tester"])
    checks.no_swap_is_left(debian12_opened)
    lines = [line.split() for line in debian12_opened.read_lines("/etc/fstab") if not line.startswith("#")]
    (root,) = [fields for fields in lines if len(fields) > 1 and fields[1] == "/"]
    assert root[0].startswith("UUID=")


def test_twice_is_once(debian12: Applied, tmp_path: Path) -> None:
    checks.twice_is_once(debian12, "debian.yaml", tmp_path)
