"""One disk a family: the profile that `auto` takes, one launch, and a guest that boots with what Azure needs.

What the result holds is asked of the running guest: opening it in an appliance as well would cost a launch more. Each
disk is a group of its own; the disks are small, and their images get their drivers appended. Such a guest is on a
controller whose driver only the appended archive holds: VMware's stands for Hyper-V's, which QEMU does not have, and
the same code adds both.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.boot import Boot
from tests.boot.machine import Controller
from tests.guests import checks
from tests.guests.workshop import Applied, applied, imgfix, made

DRIVERS = ("hv_vmbus", "hv_storvsc", "hv_netvsc")
COMMON = ("console=ttyS0", "earlyprintk=ttyS0", "net.ifnames=0")
GONE = ("quiet", "splash", "rhgb", "splash=silent", "crashkernel=auto")

#: The driver of the controller that guests with an appended image boot from; the disks' own images lack it.
CONTROLLER = "vmw_pvscsi"
APPEND = ("initramfs.method=append", f"initramfs.drivers=[{', '.join((*DRIVERS, CONTROLLER))}]")

#: Lists what the archive behind the old image holds: the guest's own listers see the first one only.
APPENDED = """
old=$(sudo stat -c %s {image}.bak) && sudo cmp -n $old {image} {image}.bak && sudo tail -c +$((old + 1)) {image} >/tmp/a
test $(stat -c %s /tmp/a) -lt 4194304 || exit
for unpack in gzip zstd xz lz4; do $unpack -dc </tmp/a 2>/dev/null | cpio -t 2>/dev/null && break; done
"""


@dataclass(frozen=True, slots=True)
class Family:
    """A disk, the profile that is to be chosen for it, and what is particular to its result."""

    disk: str
    profile: str
    settings: tuple[str, ...] = ()
    wanted: tuple[str, ...] = COMMON
    unwanted: tuple[str, ...] = (*GONE, "rootdelay=300")
    image: str = "/boot/initrd.img-$(uname -r)"
    # The image holds the drivers and is left alone.
    ready: bool = False
    # The guest's own lister, which takes the image as it was made or became.
    lister: str = "lsinitramfs"
    # What the disk's image is compressed with, by its first bytes in hexadecimal.
    magic: str = "1f8b"
    units: tuple[str, ...] = ("ssh", "walinuxagent", "serial-getty@ttyS0")
    # Shell commands of the running guest, each of which must succeed.
    holds: tuple[str, ...] = ()
    # More options of apply.
    options: tuple[str, ...] = ()


_DRACUT = ("rootdelay=300", *COMMON)

FAMILIES = {
    family.disk: family
    for family in (
        # Its old partition table has swap on a logical partition.
        Family(
            "debian11",
            "debian",
            ("mode=specialized",),
            holds=(
                "test -e /etc/cloud/cloud-init.disabled",
                "grep -qx RESUME=none /etc/initramfs-tools/conf.d/resume",
                "! lsblk -no FSTYPE | grep -q swap",
                "grep -q HISTORY-OF-TESTER ~/.bash_history",
            ),
        ),
        # The initramfs has the drivers and stays as it is. The agent provisions.
        Family(
            "debian13",
            "debian",
            ("provisioning.agent=waagent",),
            ready=True,
            magic="303730373031",  # modules that are compressed themselves come first, in a plain archive
            holds=(
                "test ! -e /boot/initrd.img-$(uname -r).bak",
                "sudo grep -qx Provisioning.Agent=waagent /etc/waagent.conf",
                "test ! -e /swapfile",
            ),
        ),
        Family(
            "ubuntu",
            "ubuntu",
            magic="28b52ffd",
            holds=(
                "test -e /var/lib/snapd/seed/seed.yaml",
                "test -e /etc/cloud/cloud.cfg.d/curtin-preserve-sources.cfg",
                "test ! -e /etc/cloud/ds-identify.cfg",
                "test ! -e /etc/cloud/cloud-init.disabled",
                "test ! -e /etc/cloud/cloud.cfg.d/99-installer.cfg",
                "test ! -e /var/log/installer",
                "test ! -e /swap.img",
                "systemctl is-enabled cloud-init-local cloud-final",
            ),
        ),
        Family(
            "el8",
            "rhel",
            wanted=(*_DRACUT, "rd.lvm.lv=rhel/root"),
            unwanted=(*GONE, "rd.lvm.lv=rhel/swap"),
            image="/boot/initramfs-$(uname -r).img",
            lister="lsinitrd",
            units=("sshd", "waagent", "serial-getty@ttyS0", "cloud-init-local"),
            holds=(
                "sudo grep -q '^kernelopts=.*rootdelay=300' /boot/grub2/grubenv",
                "sudo grep -q '^options $kernelopts $tuned_params$' /boot/loader/entries/*.conf",
                "! sudo lvs --noheadings | grep -q swap",
                "test $(df --output=size -m / | tail -n 1) -gt 2100",
            ),
            options=("--size", "2500M", "--grow-root"),
        ),
        Family(
            "suse",
            "sles",
            ("mode=specialized",),
            wanted=_DRACUT,
            unwanted=GONE,
            image="/boot/initrd-$(uname -r)",
            lister="lsinitrd",
            magic="fd377a58",
            units=("sshd", "waagent", "serial-getty@ttyS0"),
            holds=(
                "findmnt -no FSTYPE / | grep -qx btrfs",
                "findmnt -no OPTIONS / | grep -q 'subvol=/@/.snapshots/1/snapshot'",
                # The read-only snapshot is as it was.
                "grep -q quiet /.snapshots/2/snapshot/etc/default/grub",
                "! lsblk -no FSTYPE | grep -q swap",
                "test $(df --output=size -m / | tail -n 1) -gt 2200",
            ),
            options=("--size", "2400M", "--grow-root"),
        ),
    )
}

#: One that plans with an initramfs image left alone, one with one that was changed.
TWICE = ("debian13", "ubuntu")


def _disks(names: tuple[str, ...] = tuple(FAMILIES)) -> list[object]:
    marks = {name: (pytest.mark.appliance, pytest.mark.xdist_group(name)) for name in names}
    return [pytest.param(FAMILIES[name], id=name, marks=marks[name]) for name in names]


def _settings(family: Family) -> tuple[str, ...]:
    return family.settings if family.ready else (*family.settings, *APPEND)


def _applied(shared: Path, family: Family) -> Applied:
    return applied(shared, family.disk, "auto", *_settings(family), more=family.options)


@pytest.mark.parametrize("family", _disks())
def test_auto_takes_the_profile_and_one_launch_does_it_all(shared: Path, family: Family) -> None:
    done = _applied(shared, family)
    assert f"profile {family.profile}\n" in done.run.stderr
    assert done.run.launches == 1
    assert ("appending " in done.run.stderr) != family.ready
    assert "rebuilding initramfs" not in done.run.stderr
    checks.source_is_untouched(done)
    checks.is_a_fixed_vhd_of_whole_mib(done.vhd)


@pytest.mark.parametrize("family", _disks())
def test_it_boots_and_holds_what_was_planned(shared: Path, family: Family) -> None:
    controller: Controller = "virtio-scsi" if family.ready else "pvscsi"
    with Boot(_applied(shared, family).vhd, controller=controller) as vm:
        failed = checks.boots(vm, list(family.wanted), list(family.unwanted))
        print(f"systemctl --failed: {failed}")
        enabled = vm.run(
            f"systemctl is-enabled {' '.join(f'{unit}.service' for unit in family.units)}"
        ).output
        assert enabled.split() == ["enabled"] * len(family.units), enabled
        # All in one: each call of its own takes seconds.
        vm.check("\n".join(f"{{ {c}; }} || {{ echo {shlex.quote(c)}; exit 1; }}" for c in family.holds))
        _holds_the_drivers(vm, family)
        vm.poweroff()


def _holds_the_drivers(vm: Boot, family: Family) -> None:
    """By the guest's own lister in an image left alone; else in what stands behind the old image, byte for byte."""
    assert f"\n{family.magic}" in "\n" + vm.check(
        f"sudo head -c 6 {family.image} | od -An -v -tx1 | tr -d ' '"
    )
    listed = vm.check(f"sudo {family.lister} {family.image} | grep -o '[a-z_]*\\.ko'", timeout=600).split()
    assert "virtio_scsi.ko" in listed
    wanted = {f"{driver}.ko" for driver in DRIVERS}
    if not family.ready:
        listed = vm.check(f"({APPENDED.format(image=family.image)}) | grep -o '[a-z_]*\\.ko'").split()
        wanted.add(f"{CONTROLLER}.ko")
        assert CONTROLLER in vm.check("cat /sys/class/scsi_host/*/proc_name")
    assert wanted <= set(listed)


@pytest.mark.parametrize("family", _disks(TWICE))
def test_twice_is_once(shared: Path, tmp_path: Path, family: Family) -> None:
    checks.twice_is_once(_applied(shared, family), "auto", tmp_path, *_settings(family))


@pytest.mark.appliance
@pytest.mark.xdist_group("el8")
def test_a_profile_for_another_family_is_refused_with_both_names(shared: Path, tmp_path: Path) -> None:
    run = imgfix("apply", "ubuntu", made(shared, "el8"), "-o", tmp_path / "no.vhd", folder=tmp_path)
    assert run.status == 3
    assert (
        "profile ubuntu is for the ubuntu family; this guest is Red Hat Enterprise Linux 8.10" in run.stderr
    )
    assert not (tmp_path / "no.vhd").exists()
