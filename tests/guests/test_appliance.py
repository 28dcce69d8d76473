"""The appliance by itself: network off, on and cut; QEMU killed; KVM that does not work; the Tree contract."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgfix import accel, appliance
from imgfix.accel import Accelerator, Verdict
from imgfix.appliance import ApplianceDied
from imgfix.apply import apply
from imgfix.change import Finish, Rebuild, RebuildKind
from imgfix.guest import Guest
from imgfix.interrupt import Interrupts
from imgfix.launchdir import LaunchDir
from imgfix.plan import Item, Plan
from tests import contract

pytestmark = [pytest.mark.appliance, pytest.mark.xdist_group("refused")]

#: The host's loopback as QEMU's user-mode network shows it to the appliance (net=169.254.0.0/16, host .2.2).
GATEWAY = "169.254.2.2"


@pytest.fixture
def blank(tmp_path: Path) -> Path:
    """A disk of 64 MiB with nothing on it."""
    disk = tmp_path / "blank.raw"
    with disk.open("wb") as stream:
        stream.truncate(64 << 20)
    return disk


@pytest.fixture
def port() -> Iterator[int]:
    """A server on the host's loopback that accepts and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def reaches(running: appliance.Appliance, port: int) -> bool:
    """Try to connect to the host from inside the appliance."""
    script = f"timeout 10 bash -c 'exec 3<>/dev/tcp/{GATEWAY}/{port}' 2>&1; echo status=$?"
    return str(running.call("debug", "sh", [script])).strip().endswith("status=0")


def test_the_network_is_off_unless_asked_for_and_can_be_cut(blank: Path, port: int) -> None:
    with appliance.launch(blank, writable=True, network=False, interrupts=Interrupts()) as running:
        assert not reaches(running, port)
    with appliance.launch(blank, writable=True, network=True, interrupts=Interrupts()) as running:
        assert reaches(running, port)
        running.cut_network()
        assert not reaches(running, port)


class _Swapped:
    """A libguestfs handle in whose launch the appliance's own root came up as the first disk."""

    def debug(self, _: str, words: list[str]) -> str:
        if words[0].startswith("readlink"):
            assert words == [f"readlink -e /dev/disk/guestfs/{appliance.LABEL}"]
            return "/dev/sdb\n"
        assert "e2fsck /dev/sdb3 /dev/sda1 /dev/sdc" in words[0]
        return "/dev/sdb3: clean, /dev/sda1 in use\n\nstatus=8"

    def close(self) -> None:
        pass


def test_scripts_name_the_disk_as_libguestfs_does_whatever_the_kernel_calls_it() -> None:
    verdict = Verdict(Accelerator.TCG, "")
    with appliance.Appliance(_Swapped(), LaunchDir(), Interrupts(), verdict) as running:
        status, output = running.shell("e2fsck /dev/sda3 /dev/sdb1 /dev/sdc")
    assert (status, output) == (8, "/dev/sda3: clean, /dev/sdb1 in use")


def test_the_disk_and_no_other_is_seen_by_scripts(blank: Path) -> None:
    with appliance.launch(blank, writable=True, network=False, interrupts=Interrupts()) as running:
        assert running.shell("blockdev --getsize64 /dev/sda") == (0, str(blank.stat().st_size))
        assert running.shell("exit 7") == (7, "")


def test_a_killed_qemu_is_told_and_leaves_no_files(
    blank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    with appliance.launch(blank, writable=True, network=False, interrupts=Interrupts()) as running:
        running.kill()
        with pytest.raises(ApplianceDied, match="the appliance ended during"):
            running.call("list_devices")
    assert list(scratch.iterdir()) == []


def test_a_launch_that_fails_with_kvm_is_done_again_without(
    blank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.which("qemu-system-x86_64")
    wrapper = tmp_path / "qemu"
    wrapper.write_text(f'#!/bin/sh\ncase "$*" in *guestfsd.sock*accel=tcg*|*accel=tcg*guestfsd.sock*) ;;\n'
                       f'*guestfsd.sock*) exit 1 ;; esac\nexec {real} "$@"\n')  # fmt: skip
    wrapper.chmod(0o755)
    monkeypatch.setenv("LIBGUESTFS_HV", str(wrapper))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(accel, "choose", lambda: Verdict(Accelerator.KVM, "said to work"))
    said: list[str] = []
    with appliance.launch(
        blank, writable=False, network=False, interrupts=Interrupts(), say=said.append
    ) as running:
        assert running.verdict.accelerator is Accelerator.TCG
    assert said == ["running without KVM: the appliance does not start under KVM"]
    assert list((tmp_path / "cache" / "imgfix").iterdir()), "the verdict is remembered"


def test_guest_keeps_the_contract_of_tree(debian12_disk: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    subprocess.run(("cp", "--sparse=always", debian12_disk, disk), check=True)
    with appliance.launch(disk, writable=True, network=False, interrupts=Interrupts()) as running:
        running.call("mount", "/dev/sda3", "/")
        guest = Guest(running)
        made = guest.run(("sh", "-c", contract.install()))
        assert made.status == 0, made.output
        for check in contract.CHECKS:
            check(guest)


def test_appending_leaves_other_names_of_the_file_and_its_owner_alone(blank: Path) -> None:
    with appliance.launch(blank, writable=True, network=False, interrupts=Interrupts()) as running:
        running.call("mkfs", "ext4", "/dev/sda")
        running.call("mount", "/dev/sda", "/")
        guest = Guest(running)
        for path in ("/alone", "/linked"):
            guest.write(path, b"old ", 0o640)
            running.call("chown", 3, 4, path)
        running.call("ln", "/linked", "/other")
        large = bytes(range(256)) * (5 << 12)  # 5 MiB, more than one message of libguestfs
        guest.append("/alone", large)
        guest.append("/linked", b"and new")
        assert guest.read_file("/alone") == b"old " + large
        assert (guest.read_file("/linked"), guest.read_file("/other")) == (b"old and new", b"old ")
        for path in ("/alone", "/linked"):
            entry = guest.lstat(path)
            assert entry is not None
            assert (entry.mode, entry.uid, entry.gid) == (0o640, 3, 4)
        assert guest.listdir("/") == ("alone", "linked", "lost+found", "other")


def test_nothing_of_a_guest_command_stays(debian12_disk: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    subprocess.run(("cp", "--sparse=always", debian12_disk, disk), check=True)
    with appliance.launch(disk, writable=True, network=False, interrupts=Interrupts()) as running:
        running.call("mount", "/dev/sda3", "/")
        guest = Guest(running)
        script = "sleep 1000 & touch /run/left /tmp/left; echo out; echo err >&2; exit 7"
        result = guest.run(("sh", "-c", script))
        assert (result.status, result.output) == (7, "out\nerr\n")
        assert "sleep 1000" not in str(running.call("debug", "sh", ["ps ax"]))
        assert guest.lstat("/run/left") is None
        assert guest.lstat("/tmp/left") is None
        running.call("umount_all")  # fails while a process of the guest is left


def test_what_a_generator_made_is_finished(debian12_disk: Path, tmp_path: Path) -> None:
    """As EL 7's 10_linux would write it on this BIOS machine, for a guest that boots by UEFI."""
    disk, path = tmp_path / "disk.raw", "/boot/grub.test"
    subprocess.run(("cp", "--sparse=always", debian12_disk, disk), check=True)
    script = f"umask 077; printf 'linux16 /v a\\ninitrd16 /i\\n' >{path}"
    rebuild = Rebuild(RebuildKind.GRUB_CONFIG, path, (("sh", "-c", script),), "a test", Finish.FOR_UEFI)
    with appliance.launch(disk, writable=True, network=False, interrupts=Interrupts()) as running:
        running.call("mount", "/dev/sda3", "/")
        guest = Guest(running)
        apply(Plan((Item("grub", rebuild),)), guest, lambda _: None)
        assert guest.read_file(path) == b"linuxefi /v a\ninitrdefi /i\n"
        entry = guest.lstat(path)
        assert entry is not None
        assert entry.mode == 0o600
