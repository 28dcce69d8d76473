"""Debian 12: initramfs-tools, packages from its own repositories, BIOS and UEFI."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from imgfix.facts.efi import EfiProgram, Kind, read_program
from imgfix.textedit import grubcfg
from tests.disks import image
from tests.disks.root import Root
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
    names = [path for path in debian12_opened.glob_expand("/boot/initrd.img-*") if not path.endswith(".bak")]
    assert len(names) == len(debian12_opened.glob_expand("/boot/vmlinuz-*")) == 2
    for name in names:
        found = shell(debian12_opened, f"lsinitramfs {name} | grep -o 'hv_[a-z]*\\.ko'")
        assert {f"{driver}.ko" for driver in DRIVERS} <= set(found.split()), name


def test_only_the_image_that_lacked_them_was_rebuilt(debian12: Applied, debian12_opened: Any) -> None:
    (backup,) = debian12_opened.glob_expand("/boot/initrd.img-*.bak")
    assert debian12.run.stderr.count("rebuilding initramfs") == 1
    assert f"rebuilding initramfs {backup.removesuffix('.bak')}: lacks hv_vmbus" in debian12.run.stderr


def test_the_guests_own_update_keeps_the_drivers(debian12: Applied, tmp_path: Path) -> None:
    """The next kernel package rebuilds without imgfix, by what is left in /etc. Native: it takes minutes emulated."""
    start, _ = image.extents(debian12.vhd)[3]
    root = Root(tmp_path / "root")
    root.path.mkdir()
    argv = ("debugfs", "-R", f"rdump / {root.path}", f"{debian12.vhd}?offset={start}")
    subprocess.run(argv, capture_output=True, check=True)
    for kernel in root.kernels():
        path = root.at(f"/boot/initrd.img-{kernel}")
        path.unlink()
        root.chroot("update-initramfs", "-c", "-k", kernel)
        listed = root.chroot("lsinitramfs", f"/boot/initrd.img-{kernel}")
        assert {f"{driver}.ko" for driver in DRIVERS} <= {Path(line).name for line in listed.splitlines()}


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
