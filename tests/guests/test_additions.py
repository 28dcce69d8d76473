"""What a profile adds, on a real guest: files with their owners, commands in the appliance, the first boot once."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgfix import appliance, profile_load
from imgfix.apply import apply
from imgfix.errors import ApplyError
from imgfix.facts.model import Distro, Facts, Storage
from imgfix.guest import Guest
from imgfix.interrupt import Interrupts
from imgfix.plan import build_plan
from imgfix.profile import Profile
from imgfix.steps.commands import Commands
from imgfix.steps.files import Files
from imgfix.steps.first_boot import SCRIPT, FirstBoot
from imgfix.tree import Entry, Kind
from tests.boot import Boot

pytestmark = [pytest.mark.appliance, pytest.mark.xdist_group("additions")]

FACTS = Facts(Distro("debian", (), "12", "Debian 12", "debian"), (), (), Storage("gpt", ()))
STEPS = (Files(), FirstBoot(), Commands())

PROFILE = r"""
files:
  /etc/corp/tool: {source: tool, mode: "4750", owner: "tester:adm"}
  /etc/sudoers.d/tester: {content: "tester ALL=(ALL) NOPASSWD: ALL\n", mode: "0440"}
  /etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service: {link: /lib/systemd/system/serial-getty@.service}
commands:
  the menu names the serial port:
    run: "sed -i 's/ quiet splash/ console=ttyS0/' /boot/grub/grub.cfg"
    inputs: [/etc/corp/tool]
  there is no network:
    run: |
      ls /sys/class/net >/root/nics
      ! getent hosts deb.debian.org
      touch /root/no-network
    creates: /root/no-network
  the history goes: {run: [rm, /root/.bash_history], removes: /root/.bash_history}
first_boot:
  remember: "date >>/root/first-boot"
  fail: [/bin/false]
  with arguments: [/usr/bin/touch, "/root/a b"]
"""


def _load(folder: Path, text: str) -> Profile:
    (folder / "tool").write_bytes(b"\x00tool\n")
    path = folder / "mine.yaml"
    path.write_text(text)
    return profile_load.load(str(path))


@pytest.fixture(scope="module")
def applied(debian12_disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the disk to which the profile was applied; what could be seen in the appliance has been checked."""
    folder = tmp_path_factory.mktemp("additions")
    disk = folder / "disk.raw"
    subprocess.run(("cp", "--sparse=always", debian12_disk, disk), check=True)
    profile = _load(folder, PROFILE)
    with appliance.launch(disk, writable=True, network=False, interrupts=Interrupts()) as running:
        running.call("mount", "/dev/sda3", "/")
        guest = Guest(running)
        said: list[str] = []
        apply(build_plan(STEPS, profile, FACTS, guest), guest, said.append)
        assert said == [f"running in the guest: {name}" for name in profile.commands]
        _is_as_wanted(guest)
        assert build_plan(STEPS, profile, FACTS, guest).changes == ()
        _runs_again_when_an_input_changed(guest, profile)
        _keeps_its_word_or_fails(guest, folder)
        running.call("umount_all")
        running.finish()
    yield disk
    disk.unlink()


def _is_as_wanted(guest: Guest) -> None:
    assert guest.lstat("/etc/corp/tool") == Entry(Kind.FILE, 0o4750, 1000, 4, 6)
    sudoers = guest.lstat("/etc/sudoers.d/tester")
    assert sudoers is not None
    assert (sudoers.mode, sudoers.uid) == (0o440, 0)
    assert guest.lstat("/root/.bash_history") is None
    assert guest.read_file("/root/nics").split() in ([b"lo"], [])
    script = guest.lstat(SCRIPT)
    assert script is not None
    assert script.mode == 0o700
    for argv in (
        ("sh", "-n", SCRIPT),
        ("systemd-analyze", "verify", "/etc/systemd/system/imgfix-first-boot.service"),
    ):
        done = guest.run(argv)
        assert (done.status, done.output) == (0, "")
    assert guest.run(("systemctl", "is-enabled", "imgfix-first-boot.service")).output == "enabled\n"


def _runs_again_when_an_input_changed(guest: Guest, profile: Profile) -> None:
    file = profile.files["/etc/corp/tool"]
    assert file is not None
    changed = profile.model_copy(update={"files": {"/etc/corp/tool": file.loaded(b"other")}})
    plan = build_plan(STEPS, changed, FACTS, guest)
    assert [command.name for command in plan.commands] == ["the menu names the serial port"]


def _keeps_its_word_or_fails(guest: Guest, folder: Path) -> None:
    for run, told in {
        "run: 'echo told; false'": "failed in the guest with status 1: `/bin/sh -e -c 'echo told; false'`:\ntold",
        "run: [/no/such/program]": "failed in the guest with status 127",
        "run: [/bin/true], creates: /root/nothing": "has run, and /root/nothing, which it creates, is not there",
        "run: [/bin/true], removes: /etc/fstab": "has run, and /etc/fstab, which it removes, is still there",
    }.items():
        profile = _load(folder, f"commands: {{lie: {{{run}}}}}\n")
        with pytest.raises(ApplyError) as caught:
            apply(build_plan(STEPS, profile, FACTS, guest), guest, lambda _: None)
        assert "the profile's command 'lie'" in caught.value.message
        assert told in caught.value.message
        assert build_plan(STEPS, profile, FACTS, guest).commands, "nothing remembers that it had run"


def test_the_first_boot_runs_once_and_says_what_failed(applied: Path) -> None:
    # As built, fstab names the disk as this controller does.
    with Boot(applied, "bios", controller="virtio-blk", raw=True) as vm:
        vm.login("tester", "tester")
        vm.check("until sudo test -e '/root/a b'; do sleep 2; done")
        assert len(vm.check("sudo cat /root/first-boot").splitlines()) == 1
        journal = vm.check("sudo journalctl -b -o cat -u imgfix-first-boot.service")
        assert "imgfix: failed with status 1: fail" in journal
        left = vm.run(f"sudo ls {SCRIPT} /etc/systemd/system/imgfix-first-boot.service").output
        assert left.count("No such file") == 2
        vm.poweroff()
