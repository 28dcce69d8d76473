"""Volumes under a guest: LUKS, btrfs subvolumes, RAID, LVM, logs to replay, machines that sleep, damage."""

from __future__ import annotations

import importlib
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from imgfix import accel
from imgfix.appliance import EMULATED_APPEND, LABEL
from tests.disks import luks, phony, raid
from tests.guests import checks
from tests.guests.test_refused import MIB, refused
from tests.guests.workshop import Applied, Run, imgfix, made, sha256

pytestmark = [pytest.mark.appliance, pytest.mark.xdist_group("volumes")]

PROFILE = "name: volumes\ndescription: what needs no program of the guest\n"
LATER = "localhost.localdomain\n"
BEFORE = "web01\n"


@contextmanager
def opened(vhd: Path, folder: Path) -> Iterator[Any]:
    """Open a throw-away overlay of the VHD by libguestfs directly, nothing mounted."""
    overlay = folder / "overlay.qcow2"
    argv = ("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(vhd), "-F", "raw", str(overlay))
    subprocess.run((*argv, str(vhd.stat().st_size - 512)), check=True)
    handle = importlib.import_module("guestfs").GuestFS(python_return_dict=True)
    try:
        handle.set_backend("direct")
        if accel.choose().accelerator is accel.Accelerator.TCG:
            handle.set_backend_settings(["force_tcg"])
            handle.set_append(EMULATED_APPEND)
        handle.add_drive_opts(str(overlay), format="qcow2", label=LABEL)
        handle.launch()
        yield handle
    finally:
        handle.close()
        overlay.unlink()


def applied(shared: Path, name: str, *options: str | Path) -> Applied:
    """Apply a profile that changes a little to a test disk."""
    source = made(shared, name)
    folder = source.parent
    (folder / "volumes.yaml").write_text(PROFILE)
    run = imgfix("apply", folder / "volumes.yaml", source, "--force", *options, folder=folder)
    assert run.status == 0, run.stderr
    return Applied(source, (folder / "sha256").read_text(), source.with_suffix(".vhd"), run)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options with a key that does not fit, of bytes that are no text, and the passphrase as an editor saves it."""
    folder = tmp_path_factory.mktemp("keys")
    (folder / "other").write_bytes(b"\x00\xff\n")
    (folder / "right").write_text(f"{luks.PASSPHRASE}\n")
    return ["--key", str(folder / "other"), "--key", str(folder / "right")]


@pytest.fixture(scope="module")
def on_luks(shared: Path, keys: list[str]) -> Applied:
    """The guest on LUKS, applied."""
    return applied(shared, "luks", *keys)


@pytest.fixture(scope="module")
def on_raid(shared: Path) -> Applied:
    """The guest on RAID, applied."""
    return applied(shared, "raid")


def words(run: Run) -> str:
    """Return what a run printed, as one line."""
    return " ".join((run.stdout + run.stderr).split())


def test_without_a_key_the_encrypted_device_is_named(shared: Path, tmp_path: Path) -> None:
    run = imgfix("inspect", made(shared, "luks"), folder=tmp_path)
    refused(run, "no Linux installation", f"encrypted: /dev/sda2 (LUKS {luks.LUKS_UUID})", "--key FILE")


def test_luks_is_opened_and_the_source_kept(on_luks: Applied) -> None:
    checks.source_is_untouched(on_luks)
    checks.is_a_fixed_vhd_of_whole_mib(on_luks.vhd)
    assert on_luks.run.launches == 1
    told = words(on_luks.run)
    assert "/dev/sda2 is encrypted (LUKS): each boot waits for its passphrase" in told
    assert "/dev/mapper/sda2_crypt, /dev/sda1: not cleanly unmounted, the journal was replayed" in told
    assert "not looked at: /backup" in told
    assert luks.PASSPHRASE not in told


def test_only_the_subvolume_that_boots_was_changed(on_luks: Applied, tmp_path: Path) -> None:
    with opened(on_luks.vhd, tmp_path) as g:
        g.cryptsetup_open("/dev/sda2", luks.PASSPHRASE, "seen")
        g.mount_options("subvolid=5", "/dev/mapper/seen", "/")
        assert g.cat("/@/etc/hostname") == LATER
        assert g.cat("/@/etc/last") == "logged\n"
        for snapshot in ("@/.snapshots/1/snapshot", "timeshift/@"):
            assert g.cat(f"/{snapshot}/etc/hostname") == BEFORE
            assert "/swap/swapfile" in g.cat(f"/{snapshot}/etc/fstab")
        assert not g.exists("/@swap/swapfile")
        assert "swap sw" not in g.cat("/@/etc/fstab")
        assert [p["part_num"] for p in g.part_list("/dev/sda")] == [1, 2]
        assert f"UUID={luks.LUKS_UUID}" in g.cat("/@/etc/crypttab")
        g.umount_all()
        g.mount("/dev/sda1", "/")
        assert g.cat("/last") == "logged\n"
        checks.file_systems_are_clean(g, {"/dev/mapper/seen": "btrfs check --readonly"})


def test_twice_is_once_under_encryption(on_luks: Applied, keys: list[str], tmp_path: Path) -> None:
    again = tmp_path / "again.vhd"
    profile = on_luks.source.with_name("volumes.yaml")
    run = imgfix("apply", profile, on_luks.vhd, "-o", again, *keys, folder=tmp_path)
    assert run.status == 0, run.stderr
    assert "changing the guest" not in run.stderr
    assert subprocess.run(("cmp", on_luks.vhd, again), check=False).returncode == 0


def test_inspect_sees_the_disk_of_a_vhd_without_its_footer(on_raid: Applied, tmp_path: Path) -> None:
    before = sha256(on_raid.vhd)
    run = imgfix("inspect", "--json", on_raid.vhd, folder=tmp_path)
    assert run.status == 0, run.stderr
    storage = json.loads(run.stdout)["facts"]["storage"]
    places = {f["mountpoint"]: (f["device"], f["fstype"]) for f in storage["filesystems"] if f["mountpoint"]}
    # The kernel numbers arrays that were not made on this machine downwards from 127.
    assert places.pop("/boot")[0] in ("/dev/md126", "/dev/md127")
    assert places == {
        "/": ("/dev/sys/root", "btrfs"),
        "/home": ("/dev/data/home-dirs", "ext4"),
        "/srv": ("/dev/sda6", "ext4"),
        "/usr": ("/dev/sys/usr", "xfs"),
    }
    assert [(a["present"], a["wanted"], a["level"]) for a in storage["arrays"]] == [(1, 2, "raid1")] * 2
    assert storage["replayed"] == []
    assert sha256(on_raid.vhd) == before


def test_a_degraded_raid_works_and_is_told(on_raid: Applied) -> None:
    checks.source_is_untouched(on_raid)
    told = words(on_raid.run)
    for name in ("boot", "pv"):
        assert f"MD RAID /dev/md/{name} (raid1) is degraded: 1 of 2 disks are here" in told
    assert "mdadm --grow /dev/md/boot --force --raid-devices=1" in told
    assert "/dev/sys/usr: not cleanly unmounted, the journal was replayed" in told


def test_the_default_subvolume_is_the_one_installation(on_raid: Applied, tmp_path: Path) -> None:
    with opened(on_raid.vhd, tmp_path) as g:
        g.mount_options("subvolid=5", "/dev/sys/root", "/")
        assert g.cat(f"/{raid.DEFAULT}/etc/hostname") == LATER
        assert g.cat("/@/.snapshots/2/snapshot/etc/hostname") == BEFORE
        g.umount_all()
        g.mount("/dev/sys/usr", "/")
        assert g.cat("/last/file") == "logged\n"
        g.umount_all()
        devices = {"/dev/sys/root": "btrfs check --readonly", "/dev/sys/usr": "xfs_repair -n"}
        checks.file_systems_are_clean(g, devices)


def _disk(folder: Path, fstab: str) -> Path:
    """Make a disk of an ext4 root and a swap partition, natively."""
    root = phony.lay(folder / "root", phony.system("small", fstab))
    disk = folder / "d.raw"
    with disk.open("wb") as stream:
        stream.truncate(64 * MIB)
    argv = ("sgdisk", "--new=1:1M:+40M", "--new=2:42M:+16M", str(disk))
    subprocess.run(argv, check=True, capture_output=True)
    where = f"offset={MIB}"
    make = ("mkfs.ext4", "-q", "-F", "-d", str(root), "-E", where, str(disk), f"{40 * 1024}k")
    subprocess.run(make, check=True, capture_output=True)
    phony.plant_boot_code(disk)
    return disk


def test_a_hibernated_machine_is_refused_as_its_memory_would_undo_the_changes(tmp_path: Path) -> None:
    disk = _disk(tmp_path, "UUID=1 none swap sw 0 0\n")
    swap = tmp_path / "swap"
    with swap.open("wb") as stream:
        stream.truncate(16 * MIB)
    subprocess.run(("mkswap", swap), check=True, capture_output=True)
    data = bytearray(swap.read_bytes())
    data[4086:4096] = b"S1SUSPEND\0"  # as the kernel leaves it: kernel/power/swap.c, HIBERNATE_SIG
    with disk.open("r+b") as stream:
        stream.seek(42 * MIB)
        stream.write(data)
    (tmp_path / "p.yaml").write_text(PROFILE)
    run = imgfix("apply", tmp_path / "p.yaml", disk, folder=tmp_path / "run")
    refused(run, "the machine was hibernated: /dev/sda2", "start the virtual machine once and shut it down")
    assert not disk.with_suffix(".vhd").exists()


def test_damage_is_told_before_anything_is_changed(tmp_path: Path) -> None:
    disk = _disk(tmp_path, "")
    part = tmp_path / "part"
    subprocess.run(
        ("dd", f"if={disk}", f"of={part}", "bs=1M", "skip=1", "count=40"), check=True, capture_output=True
    )
    argv = ("debugfs", "-w", "-R", "sif /etc/passwd links_count 0", str(part))
    subprocess.run(argv, check=True, capture_output=True)
    back = ("dd", f"if={part}", f"of={disk}", "bs=1M", "seek=1", "conv=notrunc")
    subprocess.run(back, check=True, capture_output=True)
    (tmp_path / "p.yaml").write_text(PROFILE)
    run = imgfix("apply", tmp_path / "p.yaml", disk, folder=tmp_path / "run")
    refused(
        run,
        "/dev/sda1 (ext4) is damaged; nothing has been changed yet",
        "e2fsck -f -n /dev/sda1 says:",
        "Inode",
    )
