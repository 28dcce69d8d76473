"""An EL9-like guest: dracut, BLS entries, LVM root, rpm database; applied by an ordinary user."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imgfix.textedit import grubcfg
from tests.guests import checks
from tests.guests.result import shell
from tests.guests.workshop import Applied

pytestmark = [pytest.mark.appliance, pytest.mark.xdist_group("el9")]

DRIVERS = ("hv_vmbus", "hv_storvsc", "hv_netvsc")


def test_the_source_is_untouched(el9: Applied) -> None:
    checks.source_is_untouched(el9)


def test_one_launch_does_it_all(el9: Applied) -> None:
    assert el9.run.launches == 1


def test_the_result_is_a_fixed_vhd_with_a_clean_partition_table(el9: Applied, tmp_path: Path) -> None:
    checks.is_a_fixed_vhd_of_whole_mib(el9.vhd)
    checks.partition_table_is_clean(el9.vhd, tmp_path)


def test_file_systems_are_clean(el9_opened: Any) -> None:
    types = {
        device: kind for device, kind in el9_opened.list_filesystems().items() if kind in ("ext4", "xfs")
    }
    assert len(types) >= 2
    checkers = {"ext4": "e2fsck -f -n", "xfs": "xfs_repair -n"}
    checks.file_systems_are_clean(el9_opened, {device: checkers[kind] for device, kind in types.items()})


def test_lsinitrd_finds_the_drivers_in_every_image(el9_opened: Any) -> None:
    kernels = [path for path in el9_opened.glob_expand("/boot/vmlinuz-*") if "rescue" not in path]
    assert kernels
    for kernel in kernels:
        image = f"/boot/initramfs-{kernel.removeprefix('/boot/vmlinuz-')}.img"
        found = shell(el9_opened, f"lsinitrd {image} | grep -o 'hv_[a-z]*\\.ko'")
        assert {f"{driver}.ko" for driver in DRIVERS} <= set(found.split()), image


def test_only_the_image_that_lacked_them_was_rebuilt(el9: Applied, el9_opened: Any) -> None:
    backups = el9_opened.glob_expand("/boot/initramfs-*.bak")
    assert len(backups) == 1
    rebuilt = backups[0].removesuffix(".bak")
    assert el9.run.stderr.count("rebuilding initramfs") == 1
    assert f"rebuilding initramfs {rebuilt}: lacks hv_vmbus" in el9.run.stderr


def test_every_place_of_the_command_line_is_edited(el9_opened: Any) -> None:
    lines = [
        *(el9_opened.cat(path) for path in el9_opened.glob_expand("/boot/loader/entries/*.conf")),
        el9_opened.cat("/etc/kernel/cmdline"),
        el9_opened.cat("/etc/default/grub"),
    ]
    assert len(lines) >= 4
    for text in lines:
        assert all(argument in text for argument in ("rootdelay=300", "console=ttyS0", "net.ifnames=0")), text
        assert not [a for a in ("rhgb", "quiet", "resume=", "rhel/swap", "crashkernel=auto") if a in text], (
            text
        )


def test_units_are_enabled(el9_opened: Any) -> None:
    for unit in ("sshd", "waagent", "cloud-init-local", "cloud-init", "cloud-final", "serial-getty@ttyS0"):
        assert shell(el9_opened, f"systemctl is-enabled {unit}.service").strip() == "enabled", unit


def test_the_guests_own_parsers_accept_what_was_written(el9_opened: Any) -> None:
    checks.cloud_init_is_as_wanted(el9_opened)
    checks.waagent_reads(
        el9_opened,
        {"Provisioning.Agent": "cloud-init", "ResourceDisk.Format": "n", "ResourceDisk.EnableSwap": "n"},
    )
    checks.ssh_server_accepts_its_configuration(el9_opened)
    shell(el9_opened, "grub2-script-check /boot/grub2/grub.cfg")
    assert grubcfg.is_on_serial(el9_opened.cat("/boot/grub2/grub.cfg"))
    checks.fstab_is_accepted(el9_opened)
    (profile,) = el9_opened.glob_expand("/etc/NetworkManager/system-connections/*")
    # nmcli reads it as NetworkManager does, and writes it again.
    read = shell(el9_opened, f"nmcli --offline connection modify connection.id eth0 <{profile}")
    assert {"interface-name=eth0", "type=ethernet", "method=auto"} <= set(read.split("\n"))
    assert el9_opened.statns(profile)["st_mode"] & 0o777 == 0o600
    assert not el9_opened.glob_expand("/etc/sysconfig/network-scripts/ifcfg-*")


def test_it_is_generalized_and_has_no_swap(el9_opened: Any) -> None:
    checks.is_generalized(el9_opened, ["/root", "/home/tester"])
    checks.no_swap_is_left(el9_opened)
    assert list(el9_opened.lvs()) == ["/dev/rhel/root"]
    assert not el9_opened.exists("/etc/lvm/devices/system.devices")


def test_lvm_is_advised_against(el9: Applied) -> None:
    assert "LVM on the OS disk (volume group rhel) works" in " ".join(el9.run.stdout.split())


def test_twice_is_once(el9: Applied, tmp_path: Path) -> None:
    checks.twice_is_once(el9, "rhel.yaml", tmp_path)
