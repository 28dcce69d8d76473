"""What the guest's answers are worth; the texts are those of real rehearsals, shortened."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace

import pytest

from imgfix.rehearsal import questions
from imgfix.rehearsal.identity import Identity
from imgfix.rehearsal.questions import Answer, Expected

EXPECTED = Expected(Identity("ssh-rsa AAAA"), "cloud-init", provisioned=True, grown=True, resource_disk=True)
GOOD = {
    "in": "",
    "cloud-init": "status: done\nboot_status_code: enabled-by-generator\ndetail: DataSourceAzure [seed=/dev/sr0]\n"
    "errors: []",
    "settled": "running",
    "kernel": "6.12.118+deb13-cloud-amd64",
    "command line": "BOOT_IMAGE=/boot/vmlinuz root=UUID=e3d94b07 ro console=ttyS0",
    "user": "azureuser",
    "host name": "rehearsal",
    "datasource": 'azure\n{"v1": {"datasource": "DataSourceAzure [seed=/dev/sr0]", "errors": []}}',
    "systemd": "systemd 257 (257.9-1~deb13u1)",
    "agent": "active\nWALinuxAgent-2.12.0.2 running on debian 13.2\nPython: 3.13.5",
    "swap": "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority",
    "mounts": "/dev/sda2 / ext4 rw,relatime 0 0\n/dev/sdb1 /mnt ext4 rw,relatime 0 0",
    "resource disk": "/dev/sdb",
    "failed units": "",
    "why units failed": "",
    "host keys": "1764074000 256 SHA256:x root@rehearsal (ED25519)",
    "machine id": "1764074000\n0123456789abcdef0123456789abcdef",
    "boot time": "1764073990\n1764073990",
    "root size": "/dev/sda2 2300000000 900000000\nsda2 part 2330000000\nsda  disk 2332033024",
    "clock": "1764074100\ntsc",
    "analyze": "Startup finished in 17.714s (kernel) + 40.533s (userspace) = 58.247s",
    "gateway": "default via 10.0.0.1 dev eth0",
    "virtualization": "microsoft",
    "modules": "hv_vmbus\nhv_storvsc\nhv_netvsc",
    "end": "",
}


def judged(changed: dict[str, str], expected: Expected = EXPECTED) -> dict[str, Answer]:
    """The verdicts by name, on a good guest of which some answers are others."""
    answers = {**GOOD, **changed}
    return {answer.name: answer for answer in questions.judge(answers, expected)}


def test_a_good_guest_has_nothing_to_look_at() -> None:
    assert {answer.ok for answer in judged({}).values()} == {True}
    assert set(GOOD) - {"in", "end"} == set(questions.COMMANDS)


@pytest.mark.parametrize(
    ("changed", "name", "ok", "told"),
    [
        ({"host name": "localhost"}, "host name", False, "rehearsal wanted"),
        ({"datasource": "none\n{}"}, "datasource", False, "datasource is none"),
        ({"swap": "Filename\n/swapfile file 16384 0 -2"}, "swap", False, "swap on the OS disk: /swapfile"),
        ({"swap": "Filename\n/mnt/swapfile file 16384 0 -2"}, "swap", True, "none on the OS disk: /mnt/swapfile"),
        ({"failed units": "ssh.service loaded failed failed x"}, "units", None, "failed: ssh.service"),
        ({"host keys": "1700000000 256 SHA256:x old (RSA)"}, "host keys", False, "older than this boot"),
        ({"host keys": ""}, "host keys", False, "missing"),
        ({"machine id": "1700000000\n0123"}, "machine id", False, "older than this boot"),
        ({"root size": "/dev/sda2 1100000000 1\nsda  disk 2332033024"}, "root size", None, "not grown"),
        ({"modules": "hv_vmbus"}, "drivers", False, "cannot load hv_storvsc, hv_netvsc"),
        ({"mounts": "/dev/sda2 / ext4 rw 0 0"}, "resource disk", None, "not mounted by cloud-init"),
        ({"agent": "inactive"}, "agent", None, "no VM extension will work"),
    ],
)  # fmt: skip
def test_what_is_not_as_it_should_be(changed: dict[str, str], name: str, ok: bool | None, told: str) -> None:
    answer = judged(changed)[name]
    assert (answer.ok, told in answer.detail) == (ok, True), answer


def test_cloud_inits_error_is_told_with_its_reason() -> None:
    status = "status: error\nerrors:\n\t- ('locale', ProcessExecutionError(...))\nrecoverable_errors: {}"
    answer = judged({"cloud-init": status})["cloud-init"]
    assert answer.ok is False
    assert "('locale', ProcessExecutionError" in answer.detail


def test_an_older_systemd_is_not_blamed_for_the_resource_disk() -> None:
    old = {"systemd": "systemd 247 (247.3-7)", "resource disk": "", "mounts": "/dev/sda1 / ext4 rw 0 0"}
    answer = judged(old)["resource disk"]
    assert answer.ok is None
    assert "cannot be rehearsed with systemd 247" in answer.detail


def test_an_image_that_waagent_provisions_is_not_asked_for_cloud_init() -> None:
    found = judged({"agent": "failed"}, replace(EXPECTED, agent="waagent"))
    assert "datasource" not in found
    assert found["agent"].ok is False


def test_a_user_without_sudo_and_one_that_is_let_in_only_once_are_told_apart() -> None:
    (alone,) = questions.judge(questions.parse("Connection closed by 127.0.0.1 port 22022"), EXPECTED)
    assert (alone.name, alone.ok) == ("questions", False)
    (sudo,) = questions.judge(questions.parse("\n@@imgfix in\n"), EXPECTED)
    assert (sudo.name, sudo.ok) == ("sudo", False)


def test_the_script_asks_everything_in_a_real_shell() -> None:
    """As root without sudo, or as a user who may not use it: then only the first mark comes."""
    small = questions.script({"kernel": "uname -r", "both": "echo out; echo err >&2"})
    done = subprocess.run(("sh", "-s"), input=small, capture_output=True, text=True, check=False)
    found = questions.parse(done.stdout)
    assert "in" in found
    if os.geteuid() == 0:
        assert found == {"in": "", "kernel": os.uname().release, "both": "out\nerr", "end": ""}


def test_a_silent_kernel_is_a_no_though_ssh_was_reached() -> None:
    assert questions.serial_console(kernel=False, login=False).ok is False
    assert questions.serial_console(kernel=True, login=False).ok is None
    assert questions.serial_console(kernel=True, login=True).ok is True


def test_the_update_of_the_initramfs_is_judged_by_image() -> None:
    output = "status 0\nimage /boot/initrd.img-6.1 hv_vmbus hv_storvsc hv_netvsc\nimage /boot/initrd.img-6.0 hv_vmbus"
    good, bad = questions.judge_update(output)
    assert good.ok is True
    assert (bad.ok, "lacks hv_storvsc, hv_netvsc" in bad.detail) == (False, True)
    (failed,) = questions.judge_update("status 1\nNo space left on device")
    assert (failed.ok, "No space left" in failed.detail) == (False, True)
