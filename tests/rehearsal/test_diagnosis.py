"""The verdict from what guests print: excerpts of serial logs, and what no row may say of a boot that goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from imgfix.rehearsal.console import Follower
from imgfix.rehearsal.diagnosis import Evidence, dead_end, diagnose, marked_lines, silence
from imgfix.rehearsal.events import Event, Kind, Stage
from imgfix.rehearsal.machine import text_of
from imgfix.rehearsal.symptoms import SYMPTOMS
from tests.rehearsal.faults import FAULTS, file_name

GRUB = "Welcome to GRUB!\n\nGNU GRUB  version 2.06-13+deb12u2\n"
KERNEL = "[    0.000000] Linux version 6.12.118+deb13-cloud-amd64 (debian-kernel@lists.debian.org)\n"
INITRAMFS = KERNEL + "[    7.230574] Run /init as init process\nLoading, please wait...\n"
ROOT = INITRAMFS + "[   11.5] EXT4-fs (sda2): mounted filesystem e3d94b07 ro with ordered data mode.\n"
INIT = ROOT + "[   12.290680] systemd[1]: systemd 257.9-1~deb13u1 running in system mode (+PAM)\n"
LOGIN = (
    INIT
    + "[  OK  ] Finished cloud-init-local.service\nDebian GNU/Linux 13 localhost ttyS0\n\nlocalhost login: "
)

SILENCE = "the guest asked for no address after cloud-init had reported Ready"

CASES = (
    (Evidence(None, console="BdsDxe: No bootable option or device was found.\n"), "no removable loader",
              Stage.FIRMWARE),
    (Evidence(None, firmware="Booting from Hard Disk...\nBoot failed: not a bootable disk\n"), "no boot code",
              Stage.FIRMWARE),
    (Evidence(None), "no serial output", Stage.BOOT_LOADER),
    (Evidence(None, console="[   94.561817] reboot: Power down\n"), "no serial output", Stage.BOOT_LOADER),
    (Evidence(Stage.BOOT_LOADER, console="error: no such device: 3f1c9a52.\nEntering rescue mode...\ngrub rescue> "),
     "grub rescue", Stage.BOOT_LOADER),
    (Evidence(Stage.BOOT_LOADER, console=GRUB + "error: file `/boot/vmlinuz-6.12.118' not found.\n"),
     "kernel not found", Stage.BOOT_LOADER),
    (Evidence(Stage.BOOT_LOADER, console=GRUB + "Minimal BASH-like line editing is supported.\n\ngrub> "),
     "grub prompt", Stage.BOOT_LOADER),
    (Evidence(Stage.BOOT_LOADER, console=GRUB + "Loading Linux 6.1.0 ...\n"), "silent kernel", Stage.KERNEL),
    (Evidence(Stage.KERNEL, console=KERNEL + "[ 3.1] Kernel panic - not syncing: VFS: Unable to mount root fs on "
              "unknown-block(0,0)\n"), "unknown root device", Stage.ROOT),
    (Evidence(Stage.KERNEL,
              console=KERNEL + "[ 2.9] Initramfs unpacking failed: invalid magic at start of compressed archive\n"
              "[ 3.1] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n"),
     "initramfs damaged", Stage.INITRAMFS),
    (Evidence(Stage.INITRAMFS,
              console=INITRAMFS + "ALERT!  /dev/vda2 does not exist.  Dropping to a shell!\n(initramfs) "),
     "root by disk name", Stage.ROOT),
    (Evidence(Stage.INITRAMFS, console=INITRAMFS + "Gave up waiting for root file system device.  Common problems:\n"
              "ALERT!  UUID=f3d94b07 does not exist.  Dropping to a shell!\n(initramfs) "), "root not found",
              Stage.ROOT),
    (Evidence(Stage.INITRAMFS, console=INITRAMFS + "dracut-initqueue[312]: Warning: dracut-initqueue: timeout\n"
              "Warning: /dev/mapper/rhel-root does not exist\nGenerating \"/run/initramfs/rdsosreport.txt\"\n"),
     "volume group not found", Stage.ROOT),
    (Evidence(Stage.INITRAMFS, console=INITRAMFS + "[ 190.1] dracut-initqueue[312]: Warning: Could not boot.\n"),
     "dracut emergency", Stage.ROOT),
    (Evidence(Stage.INITRAMFS, console=INITRAMFS.replace("Run /init", "Command line: ro rootdelay=300\nRun /init")
              + "Begin: Loading essential drivers ... done.\n"), "rootdelay sleep", Stage.ROOT),
    (Evidence(Stage.INITRAMFS, console=INITRAMFS.replace("Run /init", "Command line: ro rootdelay=300\nRun /init")
              + "Begin: Loading essential drivers ... done.\nBegin: Running /scripts/init-premount ... done.\n"
              "Begin: Waiting for root file system ... "), "waiting for root", Stage.ROOT),
    (Evidence(Stage.INITRAMFS, console=INITRAMFS + "Begin: Waiting for root file system ... "),
              "waiting for root", Stage.ROOT),
    (Evidence(Stage.ROOT, console=ROOT + "run-init: can't execute '/sbin/init': No such file or directory\n"
              "[ 12.1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\n"), "no init",
              Stage.INIT),
    (Evidence(Stage.INIT, console=INIT + "[ TIME ] Timed out waiting for device dev-disk-by\\x2duuid-1111.device.\n"
              "[DEPEND] Dependency failed for data.mount - /data.\nYou are in emergency mode. After logging in\n"),
     "fstab device missing", Stage.INIT),
    (Evidence(Stage.INIT, console=INIT + "/dev/sda2: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.\n"),
     "file system damaged", Stage.ROOT),
    (Evidence(Stage.INIT, console=INIT + "[FAILED] Failed to start networking.service - Raise network interfaces.\n",
              login=True), "cards by old name", Stage.NETWORK),
    (Evidence(Stage.INIT, console=LOGIN, login=True), "no DHCP", Stage.NETWORK),
    (Evidence(Stage.NETWORK, console=LOGIN, login=True, present=frozenset({"/etc/cloud/cloud-init.disabled"})),
     "cloud-init disabled", Stage.DATASOURCE),
    (Evidence(Stage.NETWORK, console=LOGIN.replace("Run /init", "Command line: ro cloud-init=disabled\nRun /init"),
              login=True), "cloud-init disabled by the kernel", Stage.DATASOURCE),
    (Evidence(Stage.NETWORK, login=True,
              console=INIT + "[ SKIP ] Ordering cycle found, skipping cloud-init-local.service\n" + LOGIN,
              logs="Used fallback datasource\n"), "ordering cycle", Stage.DATASOURCE),
    (Evidence(Stage.NETWORK, console=LOGIN, login=True,
              logs="cc_final_message.py[WARNING]: Used fallback datasource\n"),
     "no datasource", Stage.DATASOURCE),
    (Evidence(Stage.NETWORK, console=LOGIN, login=True, logs="INFO Daemon Waiting for ssh host key be generated\n"),
     "waiting for a host key", Stage.PROVISIONING),
    (Evidence(Stage.NETWORK, console=LOGIN.replace("cloud-init", "other"), login=True), "nobody provisions",
     Stage.DATASOURCE),
    (Evidence(Stage.PROVISIONING, console=LOGIN + "\n  in _get_all_interfaces\n    ifconf_buff = buff.tostring()\n"),
     "agent too old for its Python", Stage.PROVISIONING),
    (Evidence(Stage.PROVISIONING, console=LOGIN + "\nFileNotFoundError: [Errno 2] No such file or directory: "
              "'/etc/sysconfig/network-scripts/ifcfg-eth0'\n"), "agent needs its file", Stage.PROVISIONING),
    (Evidence(Stage.PROVISIONING, console=LOGIN + "FileNotFoundError: [Errno 2] No such file or directory: "
              "'/etc/sysconfig/network/dhcp'\n", present=frozenset({"/etc/cloud/cloud-init.disabled"})),
     "agent needs its file", Stage.PROVISIONING),
    (Evidence(Stage.PROVISIONING, console=LOGIN, reports="the agent begins again and again: 4 times",
              present=frozenset({"/etc/cloud/cloud-init.disabled"})),
     "agent restarts", Stage.PROVISIONING),
    (Evidence(Stage.PROVISIONING, console=LOGIN, reports="waagent reports NotReady: ProvisioningFailed: no user\n"),
     "provisioning failed", Stage.PROVISIONING),
    (Evidence(Stage.READY, console=LOGIN + "\n[FAILED] Failed to start ssh.service - OpenBSD Secure Shell server.\n"),
     "sshd failed", Stage.SSH),
    (Evidence(Stage.READY, console=LOGIN, ssh="ssh: connect to host 127.0.0.1 port 22022: Connection refused"),
     "sshd not running", Stage.SSH),
    (Evidence(Stage.READY, console=LOGIN, ssh="azureuser@127.0.0.1: Permission denied (publickey)."),
     "key refused", Stage.SSH),
    (Evidence(Stage.READY, console=INIT + "[ TIME ] Timed out waiting for device dev-d\u2026uuid/1111.\n"
              "[0;1;38:5:185mDEPEND] Dependency failed for local-fs.target - Local File Systems.\n"
              "You are in emergency mode. After logging in, type \"journalctl -xb\" to view\n",
              ssh="kex_exchange_identification: read: Connection reset by peer"), "fstab device missing", Stage.INIT),
    (Evidence(Stage.READY, console=LOGIN + "2026-11-25T17:19:19.714803Z ERROR Daemon Daemon /proc/net/route contains "
              "no routes\n", ssh="Connection timed out during banner exchange", reports=SILENCE),
     "no network after provisioning", Stage.NETWORK),
    (Evidence(Stage.READY, console="[   55.795703] cloud-init[553]: ci-info: |  eth0  | False |     .     |     .     |"
              "   .   | 00:0d:3a:7e:57:01 |\n" + LOGIN, ssh="Connection timed out during banner exchange",
              reports=SILENCE),
     "no network after provisioning", Stage.NETWORK),
    (Evidence(Stage.READY, console=LOGIN, ssh="Connection timed out during banner exchange",
              reports=SILENCE),
     "no network after provisioning", Stage.NETWORK),
    (Evidence(Stage.READY, console="ci-info: |   lo   | False |     .     |     .     |   .   |         .         |\n"
              + LOGIN, ssh="Connection timed out during banner exchange"), "ssh time-out", Stage.SSH),
    (Evidence(Stage.READY, console="ci-info: | docker0 | False | 172.17.0.1 | 255.255.0.0 | global | 02:42:4c:91 |\n"
              + LOGIN, ssh="Connection timed out during banner exchange"), "ssh time-out", Stage.SSH),
)  # fmt: skip


@pytest.mark.parametrize(("evidence", "name", "stage"), CASES, ids=[case[1] for case in CASES])
def test_the_cause_is_named(evidence: Evidence, name: str, stage: Stage) -> None:
    cause = diagnose(evidence)
    assert (cause.name, cause.stage) == (name, stage)
    assert "{" not in cause.text
    assert cause.remedy


def test_every_row_of_the_table_has_a_remedy_and_makes_a_sentence() -> None:
    for symptom in SYMPTOMS:
        groups = dict.fromkeys(symptom.pattern.groupindex, "X")
        assert symptom.cause.format(**groups), symptom.name
        assert symptom.remedy, symptom.name


def test_what_fits_no_row_is_said_to_be_unknown() -> None:
    cause = diagnose(Evidence(Stage.KERNEL, console=KERNEL + "[ 1.0] some driver\n"))
    assert (cause.name, cause.stage, cause.line) == ("unknown", Stage.INITRAMFS, "[ 1.0] some driver")


@pytest.mark.parametrize("text", [LOGIN, GRUB, "error: no server is specified\n"])
def test_a_boot_that_goes_on_is_no_dead_end(text: str) -> None:
    assert dead_end(text) is None


def test_the_console_proves_stages_once_and_in_order_whatever_its_pieces() -> None:
    data = (GRUB + LOGIN).replace("\n", "\r\n").encode()
    for size in (1, 7, len(data)):
        follower = Follower()
        stages = [
            stage for at in range(0, len(data), size) for stage, _ in follower.feed(data[at : at + size])
        ]
        assert stages == [Stage.BOOT_LOADER, Stage.KERNEL, Stage.INITRAMFS, Stage.ROOT, Stage.INIT]
        assert follower.login


@pytest.mark.parametrize(
    ("text", "is_prompt"),
    [
        ("rehearsal login: ", True),
        ("localhost login: 2026-11-25T18:10:43.708409Z INFO Daemon Daemon Run daemon\n", True),
        ("localhost login: [   94.155] sdb: sdb1\n", True),
        ("Last login: Wed Nov 25 18:10:43 on ttyS0\n", False),
        ("no login: 2026-11-25\n", False),
    ],
)
def test_a_prompt_with_messages_behind_it_is_one(text: str, is_prompt: bool) -> None:
    follower = Follower()
    list(follower.feed(f"\n{text}".encode()))
    assert follower.login == is_prompt


def test_a_network_that_only_provisioning_had_is_told_by_its_silence() -> None:
    first = Event(61.3, Kind.DHCP, "the guest has its address", Stage.NETWORK)
    ready = Event(62.0, Kind.READY, "cloud-init reports Ready", Stage.READY)
    assert list(silence([first, ready])) == [SILENCE]
    assert not list(silence([first, ready, replace(first, at=128.9)]))
    assert not list(silence([first, replace(ready, text="waagent reports Ready")])), (
        "it uses the guest's own network"
    )
    assert not list(silence([first]))


def test_the_screen_of_a_loader_without_a_serial_port_is_read() -> None:
    """As GRUB leaves it that does not find its modules. Graphics, and nothing, are no text."""
    lines = [
        "Booting from Hard Disk...",
        "error: file `/boot/grub/i386-pc/normal.mod' not found.",
        "grub rescue>",
    ]
    cells = "".join(line.ljust(80) for line in lines).ljust(80 * 25).encode("cp437")
    memory = bytes(byte for cell in cells for byte in (cell, 0x07))
    assert text_of(memory).splitlines() == lines
    assert diagnose(Evidence(None, console=text_of(memory))).name == "grub rescue"
    assert text_of(bytes(range(256)) * 16) == ""
    assert text_of(b"") == ""


def test_init_of_an_initramfs_is_not_the_systems() -> None:
    follower = Follower()
    text = KERNEL + "systemd[1]: systemd 252 running in system mode\nsystemd[1]: Running in initrd.\n"
    assert [stage for stage, _ in follower.feed(text.encode())] == [Stage.KERNEL, Stage.INITRAMFS]


def test_a_guest_cannot_drive_the_terminal_or_blow_up_a_line() -> None:
    follower = Follower()
    list(follower.feed(b"\x1b[2J\x1b]0;title\x07Linux version 6\n" + b"x" * 10_000))
    assert "\x1b" not in follower.whole
    assert len(follower.whole) < 11_000


def test_key_lines_are_marked() -> None:
    log = "fine\nALERT!  /dev/vda2 does not exist.\nfine\n"
    assert marked_lines(log) == (1,)


LOGS = sorted((Path(__file__).parent / "logs").glob("*.log"))


@pytest.mark.parametrize("path", LOGS, ids=[path.stem for path in LOGS])
def test_the_log_of_a_planted_fault_leads_to_it(path: Path) -> None:
    """What Debian 13 really printed in `python -m tests.rehearsal.faults`, cut to what matters."""
    (fault,) = [fault for fault in FAULTS if file_name(fault) == path.stem]
    text = path.read_text()
    follower = Follower()
    reached = max((stage for stage, _ in follower.feed(text.encode())), default=None)
    cause = diagnose(Evidence(reached, console=text, login=follower.login))
    assert (cause.stage, cause.name) == (fault.stage, fault.cause)
