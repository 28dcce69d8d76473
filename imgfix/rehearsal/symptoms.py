"""The table of symptoms: what a guest that does not get further prints, what that means and what helps. Data.

Order matters: the first row that counts is the verdict, so the special stands before the general. To extend: add a row,
and an excerpt of a real log that shows it to `tests/rehearsal/logs/`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from imgfix.rehearsal.events import Stage

_NOTHING = -1


class Where(Enum):
    """Which text a row is about."""

    CONSOLE = "console"
    FIRMWARE = "firmware"
    LOGS = "logs"
    SSH = "ssh"
    REPORTS = "reports"
    FILES = "files"


@dataclass(frozen=True, slots=True)
class Symptom:
    """One row. It counts where the boot came at least to `first` and at most to `last` (-1: nothing was seen).

    `final`: the boot will not get further by waiting. `absent`: it counts where the pattern is not found.
    """

    name: str
    first: int
    last: int
    where: Where
    pattern: re.Pattern[str]
    cause: str
    remedy: str
    key: str = ""
    stage: Stage | None = None
    final: bool = False
    absent: bool = False
    needs_login: bool = False


def _row(
    name: str, span: tuple[int, int], where: Where, pattern: str, cause: str, remedy: str, key: str = "",
    *, stage: Stage | None = None, final: bool = False, absent: bool = False, needs_login: bool = False,
) -> Symptom:  # fmt: skip
    compiled = re.compile(pattern, re.MULTILINE)
    return Symptom(name, *span, where, compiled, cause, remedy, key, stage, final, absent, needs_login)


_FIRMWARE = (
    _row(
        "no removable loader", (_NOTHING, Stage.FIRMWARE), Where.CONSOLE,
        r"BdsDxe: No bootable option|failed to load Boot\d+ .*Not Found|UEFI Interactive Shell|^Shell> ",
        "UEFI finds no loader: a new VM has no boot entries and starts only \\EFI\\BOOT\\BOOTX64.EFI",
        "have imgfix put the loader there, or rehearse and upload it as Generation 1",
        "firmware.removable_loader: true", stage=Stage.FIRMWARE, final=True,
    ),
    _row(
        "no boot code", (_NOTHING, Stage.FIRMWARE), Where.FIRMWARE,
        r"No bootable device|Boot failed: not a bootable disk|no boot code on the disk",
        "the BIOS finds no boot code on the disk",
        "install GRUB for BIOS (grub-install --target=i386-pc), or rehearse and upload it as Generation 2",
        "firmware.require: gen2", stage=Stage.FIRMWARE, final=True,
    ),
)  # fmt: skip

_BOOT_LOADER = (
    _row(
        "kernel not found", (_NOTHING, Stage.BOOT_LOADER), Where.CONSOLE,
        r"error: .*file [`'](?P<file>/\S*(vmlinuz|linux|kernel)\S*)' not found|you need to load the kernel first",
        "GRUB's menu names a kernel that is not there: {file}",
        "make grub.cfg anew (update-grub, grub2-mkconfig), and the default entry one that exists",
        "", stage=Stage.BOOT_LOADER, final=True,
    ),
    _row(
        "grub rescue", (_NOTHING, Stage.BOOT_LOADER), Where.CONSOLE,
        r"grub rescue>|error: (no such (device|partition|disk)[^\n]*|unknown filesystem|disk [^\n]* not found"
        r"|file [^\n]* not found)",
        "GRUB does not find its own files or the partition that it was installed for",
        "install GRUB anew on this disk (grub-install), which writes the place of /boot/grub into it",
        "", stage=Stage.BOOT_LOADER, final=True,
    ),
    _row(
        "grub prompt", (_NOTHING, Stage.BOOT_LOADER), Where.CONSOLE,
        r"^grub> |Minimal BASH-like line editing",
        "GRUB runs and has no menu: grub.cfg is missing or empty, or not where this firmware's GRUB looks",
        "make grub.cfg anew (update-grub, grub2-mkconfig -o)", "", stage=Stage.BOOT_LOADER, final=True,
    ),
)  # fmt: skip

_KERNEL = (
    _row(
        "no root option", (Stage.KERNEL, Stage.INITRAMFS), Where.CONSOLE,
        r"No root device specified|dracut: (FATAL|Refusing): .*root|No init found|Target filesystem doesn't have",
        "the kernel command line names no root, or the root it names is not the system's",
        "make grub.cfg anew, and see that its lines have root=UUID=...", "", stage=Stage.ROOT, final=True,
    ),
    _row(
        "initramfs damaged", (Stage.KERNEL, Stage.INITRAMFS), Where.CONSOLE,
        r"Initramfs unpacking failed: (?P<why>[^\n]+)",
        "the initramfs is damaged: {why}",
        "make it anew with the guest's own generator", "initramfs.method: rebuild", stage=Stage.INITRAMFS,
    ),
    _row(
        "unknown root device", (Stage.KERNEL, Stage.INITRAMFS), Where.CONSOLE,
        r"VFS: (Cannot open root device|Unable to mount root fs on) [\"'](?P<device>[^\"'\n]*)|"
        r"Unable to mount root fs on (?P<block>unknown-block\S+)",
        "the kernel finds no root device {device}{block}: there is no initramfs, or it cannot be read",
        "make the initramfs anew and see that the loader's entry names it", "initramfs.method: rebuild",
        stage=Stage.ROOT, final=True,
    ),
    _row(
        "no init", (Stage.KERNEL, Stage.INIT), Where.CONSOLE,
        r"No working init found|Attempted to kill init|run-init: .*: No such file|can't execute '?/sbin/init",
        "the root file system has no init that runs",
        "look at /sbin/init in the guest, and at the panic's lines before this one", "", stage=Stage.INIT,
        final=True,
    ),
    _row(
        "kernel panic", (Stage.KERNEL, Stage.SSH), Where.CONSOLE,
        r"Kernel panic - not syncing: (?P<why>[^\n]+)",
        "the kernel panics: {why}", "the lines before the panic say what it did last", "", final=True,
    ),
)  # fmt: skip

_ROOT = (
    _row(
        "root by disk name", (Stage.KERNEL, Stage.INITRAMFS), Where.CONSOLE,
        r"(ALERT!\s+|Warning: |device )(?P<device>/dev/(?!mapper|disk|md)\w+)( does not exist|, job .*timed out)",
        "the root is named {device}, which is what another machine calls this disk",
        "name it by its UUID", "fstab.by_uuid: true", stage=Stage.ROOT, final=True,
    ),
    _row(
        "volume group not found", (Stage.KERNEL, Stage.INITRAMFS), Where.CONSOLE,
        r"Volume group \"(?P<group>[^\"\n]+)\" not found|Cannot process volume group (?P<other>\S+)|"
        r"(ALERT!\s+|Warning: )(?P<path>/dev/mapper/\S+) does not exist",
        "the initramfs does not find the volume group of the root ({group}{other}{path}): the "
        "disk's driver, LVM, or an "
        "old list of devices",
        "have the controller's driver in the initramfs, and no /etc/lvm/devices/system.devices", "initramfs.drivers",
        stage=Stage.ROOT,
    ),
    _row(
        "root not found", (Stage.KERNEL, Stage.INITRAMFS), Where.CONSOLE,
        r"(ALERT!\s+|Warning: )(?P<device>\S*(UUID|LABEL|PARTUUID|/dev/)\S*) does not exist|Gave up waiting for root|"
        r"Gave up waiting for (?P<what>\S+) device",
        "the root {device}{what} is not found: the initramfs lacks the driver of this disk's "
        "controller, or the UUID is "
        "another file system's",
        "have the driver in the initramfs; compare root= with blkid", "initramfs.drivers", stage=Stage.ROOT,
    ),
    _row(
        "dracut emergency", (Stage.KERNEL, Stage.INITRAMFS), Where.CONSOLE,
        r"dracut-initqueue.*timeout|rdsosreport\.txt|Warning: Could not boot",
        "dracut gave up: what it waited for did not come",
        "its warnings before this line say for what; mostly a driver is missing from the initramfs",
        "initramfs.drivers", stage=Stage.ROOT,
    ),
    _row(
        "initramfs shell", (Stage.KERNEL, Stage.INITRAMFS), Where.CONSOLE,
        r"^\(initramfs\) |Press Enter for maintenance|Entering emergency mode",
        "the initramfs gave up and offers a shell", "its lines before this one say why", "initramfs.drivers",
        stage=Stage.ROOT, final=True,
    ),
    _row(
        "rootdelay sleep", (Stage.KERNEL, Stage.INITRAMFS), Where.CONSOLE,
        r"Begin: Sleeping for|"
        r"rootdelay=(?P<seconds>[3-9]\d\d+)\b[^\0]*Begin: (Running /scripts/init-premount|Mounting root)",
        "initramfs-tools sleeps the whole of rootdelay={seconds} before it looks for the root",
        "drop rootdelay= on Debian and Ubuntu", "kernel_args.remove: ['rootdelay=*']", stage=Stage.ROOT,
    ),
    _row(
        "waiting for root", (Stage.KERNEL, Stage.INITRAMFS), Where.CONSOLE,
        r"Begin: Waiting for root file system|A start job is running for (?P<device>\S*(disk|mapper|dev)\S*)|"
        r"Begin: Waiting for suspend/resume device|dracut-initqueue",
        "the initramfs still waits for the root {device}",
        "have the driver of the disk's controller in the initramfs; compare root= and resume= with blkid",
        "initramfs.drivers", stage=Stage.ROOT,
    ),
    _row(
        "file system damaged", (Stage.INITRAMFS, Stage.INIT), Where.CONSOLE,
        r"UNEXPECTED INCONSISTENCY|fsck exited with (status|exit) code [1-9]|"
        r"fsck failed with (exit )?(status|code) [4-9]|"
        r"Failed to start .*File System Check|Structure needs cleaning|XFS .*(Corruption|corrupt)|"
        r"can't read superblock|EXT4-fs \S+ error|EXT4-fs .*: bad (geometry|block)",
        "a file system is damaged and is not repaired without a person",
        "repair it (fsck, xfs_repair) in the source, and apply again", "", stage=Stage.ROOT,
    ),
)  # fmt: skip

_INIT = (
    _row(
        "fstab device missing", (Stage.ROOT, Stage.INIT), Where.CONSOLE,
        r"Timed out waiting for device (\x1b\S*)?(?P<device>[^\n]+?)\.?$[^\0]*"
        r"(emergency mode|Dependency failed for .*(Local File|local-fs|File System))",
        "/etc/fstab (or crypttab) names a device that is not there: {device}; local-fs.target fails "
        "and the boot ends in "
        "emergency mode",
        "drop the line, or give it nofail and a UUID", "fstab.by_uuid: true", stage=Stage.INIT,
    ),
    _row(
        "mount failed", (Stage.ROOT, Stage.INIT), Where.CONSOLE,
        r"Failed (to mount|at step) (\x1b\S*)?(?P<unit>[^\n]+?)\.?$[^\0]*emergency mode|"
        r"Dependency failed for (?P<place>/\S+)[^\0]*emergency mode",
        "a mount of /etc/fstab fails ({unit}{place}) and the boot ends in emergency mode",
        "correct the line, or give it nofail", "fstab", stage=Stage.INIT,
    ),
    _row(
        "emergency", (Stage.ROOT, Stage.INIT), Where.CONSOLE,
        r"You are in emergency mode|emergency\.target|Entering emergency mode|Cannot open access to console",
        "the boot ends in emergency mode",
        "the [FAILED] and [DEPEND] lines before it name the unit", "", stage=Stage.INIT, final=True,
    ),
    _row(
        "selinux policy", (Stage.ROOT, Stage.INIT), Where.CONSOLE,
        r"Failed to load SELinux policy|Freezing execution",
        "SELinux' policy does not load, or init froze",
        "relabel, or boot with enforcing=0 to see more", "", stage=Stage.INIT, final=True,
    ),
)  # fmt: skip

_NETWORK = (
    _row(
        "cards by old name", (Stage.INIT, Stage.INIT), Where.CONSOLE,
        r"(Failed to start|FAILED.*) .*([Rr]aise network|networking|Networking|Network Manager)[^\n]*",
        "the network did not come up: its configuration names another card or a static address",
        "have the first card do DHCP", "network.dhcp: true, network.interface: eth0", stage=Stage.NETWORK,
    ),
    _row(
        "no DHCP", (Stage.INIT, Stage.INIT), Where.CONSOLE, r"\Z",
        "the guest came up to a login and never asked for an address: its configuration has a "
        "static one, names another "
        "card, or nothing starts the network",
        "have the first card do DHCP", "network.dhcp: true, network.interface: eth0", stage=Stage.NETWORK,
        needs_login=True,
    ),
)  # fmt: skip

_DATASOURCE = (
    _row(
        "cloud-init disabled by the kernel", (Stage.INIT, Stage.PROVISIONING), Where.CONSOLE,
        r"^.*[Cc]ommand line: .*\bcloud-init=disabled\b.*$",
        "cloud-init is disabled on the kernel command line",
        "drop cloud-init=disabled", "kernel_args.remove: ['cloud-init=disabled']", stage=Stage.DATASOURCE,
    ),
    # array.tostring is gone from Python 3.9 on, which Debian 11 has beside waagent 2.2.45:
    # https://docs.python.org/3/whatsnew/3.9.html#removed
    _row(
        "agent too old for its Python", (Stage.INIT, Stage.PROVISIONING), Where.CONSOLE,
        r"\.tostring\(\)|has no attribute 'tostring'",
        "this version of the Azure Linux Agent cannot provision with the guest's Python: it calls what 3.9 has removed",
        "let cloud-init provision, or install a newer agent", "provisioning.agent: cloud-init",
        stage=Stage.PROVISIONING,
    ),
    _row(
        "waiting for a host key", (Stage.INIT, Stage.PROVISIONING), Where.LOGS,
        r"[Ww]aiting for (ssh )?host ?key|ssh host key not found|(SSH|ssh) host key .*(to be generated|not found)",
        "the Azure Linux Agent waits for a host key that cloud-init shall make, and cloud-init does not",
        "enable cloud-init, or have the agent provision", "provisioning.agent", stage=Stage.PROVISIONING,
    ),
    _row(
        "cloud-init disabled", (Stage.INIT, Stage.PROVISIONING), Where.FILES,
        r"(?P<path>/etc/cloud/cloud-init\.disabled)",
        "cloud-init is disabled by {path}",
        "remove the file", "cloud_init.disablers", stage=Stage.DATASOURCE,
    ),
    _row(
        "ordering cycle", (Stage.INIT, Stage.PROVISIONING), Where.CONSOLE,
        r"Ordering cycle found, skipping (?P<unit>(cloud-|waagent|walinuxagent)\S*)|"
        r"(?P<other>(cloud-|waagent|walinuxagent)\S*): Job \S+ deleted to break ordering cycle",
        "systemd leaves {unit}{other} out at boot, as its unit is ordered before and after the same thing",
        "look for an override of the unit in /etc/systemd/system, and at Before= and After= in it", "",
        stage=Stage.DATASOURCE,
    ),
    _row(
        "no UDF", (Stage.INIT, Stage.PROVISIONING), Where.LOGS,
        r"unknown filesystem type '?udf|Could not find OVF|ovf-env\.xml.*(not found|No such file)|"
        r"Failed to (mount|get) (dvd|provisioning)[^\n]*|Error .*(mount|Mount).*dvd[^\n]*",
        "the guest cannot read the provisioning DVD, which is UDF",
        "let udf and cdrom load: look for `install udf` and `blacklist` in modprobe.d",
        "kernel_modules.required: [udf]",
        stage=Stage.DATASOURCE,
    ),
    _row(
        "no datasource", (Stage.INIT, Stage.PROVISIONING), Where.CONSOLE,
        r"DataSourceNone|Used fallback datasource",
        "cloud-init found no datasource: Azure is not among those that it may use, or ds-identify is told otherwise",
        "name Azure", "cloud_init.datasources: [Azure], cloud_init.disablers", stage=Stage.DATASOURCE, final=True,
    ),
    _row(
        "no datasource", (Stage.INIT, Stage.PROVISIONING), Where.LOGS,
        r"DataSourceNone|No instance datasource found|Used fallback datasource",
        "cloud-init found no datasource: Azure is not among those that it may use, or ds-identify is told otherwise",
        "name Azure", "cloud_init.datasources: [Azure], cloud_init.disablers", stage=Stage.DATASOURCE,
    ),
    _row(
        "DHCP failed", (Stage.INIT, Stage.NETWORK), Where.LOGS,
        r"(DHCP|dhcp)[^\n]*(fail|timed out|No lease|not found|NoDHCPLease)[^\n]*|NoDHCPLease\w*",
        "the agent's own DHCP fails",
        "is a DHCP client installed that it knows (dhclient, udhcpc, dhcpcd)?", "packages.add", stage=Stage.NETWORK,
    ),
    _row(
        "provisioning failed", (Stage.DATASOURCE, Stage.PROVISIONING), Where.REPORTS,
        r"ProvisioningFailed:? ?(?P<why>[^\n]*)",
        "the agent reports that provisioning failed: {why}",
        "its log in the guest says more", "provisioning.agent", stage=Stage.PROVISIONING,
    ),
    _row(
        "traceback", (Stage.INIT, Stage.PROVISIONING), Where.LOGS,
        r"Traceback \(most recent call last\):[^\0]*?^(?P<error>\w+(\.\w+)*(Error|Exception)[^\n]*)",
        "an agent ends with an error: {error}",
        "its log in the guest says more", "packages.add", stage=Stage.PROVISIONING,
    ),
    _row(
        "nobody provisions", (Stage.INIT, Stage.NETWORK), Where.CONSOLE,
        r"[Cc]loud-init( v\.|\[|: )|[Cc]loud-init .*(job|stage|config)|Azure Linux Agent|waagent",
        "neither cloud-init nor the Azure Linux Agent starts: not installed, not enabled, or held "
        "back by a condition",
        "install and enable one; a specialized image is rehearsed by --agent disabled",
        "packages.add, services.enable, provisioning.agent", stage=Stage.DATASOURCE, absent=True, needs_login=True,
    ),
    _row(
        "no report", (Stage.NETWORK, Stage.PROVISIONING), Where.CONSOLE, r"\Z",
        "the guest came up to a login and no agent reported Ready",
        "look at cloud-init.log and waagent.log in the guest", "provisioning.agent, services.enable",
        needs_login=True,
    ),
)  # fmt: skip

_SSH = (
    _row(
        "no host keys", (Stage.READY, Stage.READY), Where.CONSOLE,
        r"sshd: no hostkeys available|Could not load host key",
        "the SSH server does not start for lack of host keys",
        "make them when the server starts", "ssh.generate_host_keys: true", stage=Stage.SSH,
    ),
    _row(
        "sshd failed", (Stage.READY, Stage.READY), Where.CONSOLE,
        r"(Failed to start|FAILED.*) .*(\bsshd?\b|OpenBSD Secure Shell|OpenSSH)[^\n]*",
        "the SSH server does not start",
        "sshd -t in the guest says why; mostly host keys are missing", "ssh.generate_host_keys: true",
        stage=Stage.SSH,
    ),
    _row(
        "sshd not running", (Stage.READY, Stage.READY), Where.SSH,
        r"Connection (refused|reset|closed)|kex_exchange_identification",
        "nothing answers at port 22: the SSH server is not running, or a firewall closes the port",
        "install and enable it", "services.enable: ssh server", stage=Stage.SSH,
    ),
    _row(
        "key refused", (Stage.READY, Stage.READY), Where.SSH,
        r"Permission denied",
        "the SSH server refuses the provisioned user's key: the user or the key is not there, or "
        "sshd_config forbids it",
        "look at PubkeyAuthentication, AllowUsers and AuthorizedKeysFile in sshd_config", "", stage=Stage.SSH,
    ),
    _row(
        "ssh time-out", (Stage.READY, Stage.READY), Where.SSH,
        r"timed out|no answer within|No route to host",
        "the SSH server does not answer in time", "is there a firewall in the guest?", "", stage=Stage.SSH,
    ),
)  # fmt: skip

#: Last: what is true of many boots that failed, and is told only where nothing better is known.
_GENERAL = (
    _row(
        "silent kernel", (Stage.BOOT_LOADER, Stage.BOOT_LOADER), Where.CONSOLE, r"\bLinux version ",
        "the boot loader runs, and the kernel writes nothing to the serial port",
        "have console=ttyS0 on the kernel command line", "kernel_args.add: [console=ttyS0, earlyprintk=ttyS0]",
        stage=Stage.KERNEL, absent=True,
    ),
    _row(
        "no serial output", (_NOTHING, Stage.FIRMWARE), Where.CONSOLE, r"\S",
        "nothing is written to the serial port: neither the boot loader nor the kernel uses it",
        "have console=ttyS0 on the kernel command line and the boot loader's menu there; Azure shows nothing else",
        "kernel_args.add: [console=ttyS0], services.serial_console: ttyS0", stage=Stage.BOOT_LOADER, absent=True,
    ),
)  # fmt: skip

SYMPTOMS: tuple[Symptom, ...] = (
    *_FIRMWARE, *_BOOT_LOADER, *_KERNEL, *_ROOT, *_INIT, *_NETWORK, *_DATASOURCE, *_SSH, *_GENERAL,
)  # fmt: skip
