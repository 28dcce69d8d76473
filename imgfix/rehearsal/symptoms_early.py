"""What a boot prints that does not come to an init: firmware, boot loader, kernel, initramfs, root. Data."""

from __future__ import annotations

from imgfix.rehearsal.events import Stage
from imgfix.rehearsal.symptom import NOTHING, Where, row

FIRMWARE = (
    row(
        "no removable loader", (NOTHING, Stage.FIRMWARE), Where.CONSOLE,
        r"BdsDxe: No bootable option|failed to load Boot\d+ .*Not Found|UEFI Interactive Shell|^Shell> ",
        "UEFI finds no loader: a new VM has no boot entries and starts only \\EFI\\BOOT\\BOOTX64.EFI",
        "have imgfix put the loader there, or rehearse and upload it as Generation 1",
        "firmware.removable_loader: true", stage=Stage.FIRMWARE, final=True,
    ),
    row(
        "no boot code", (NOTHING, Stage.FIRMWARE), Where.FIRMWARE,
        r"No bootable device|Boot failed: not a bootable disk|no boot code on the disk",
        "the BIOS finds no boot code on the disk",
        "install GRUB for BIOS (grub-install --target=i386-pc), or rehearse and upload it as Generation 2",
        "firmware.require: gen2", stage=Stage.FIRMWARE, final=True,
    ),
)  # fmt: skip

BOOT_LOADER = (
    row(
        "kernel not found", (NOTHING, Stage.BOOT_LOADER), Where.CONSOLE,
        r"error: .*file [`'](?P<file>/\S*(vmlinuz|linux|kernel)\S*)' not found|you need to load the kernel first",
        "GRUB's menu names a kernel that is not there: {file}",
        "make grub.cfg anew (update-grub, grub2-mkconfig), and the default entry one that exists",
        "", stage=Stage.BOOT_LOADER, final=True,
    ),
    row(
        "grub rescue", (NOTHING, Stage.BOOT_LOADER), Where.CONSOLE,
        r"grub rescue>|error: (no such (device|partition|disk)[^\n]*|unknown filesystem|disk [^\n]* not found"
        r"|file [^\n]* not found)",
        "GRUB does not find its own files or the partition that it was installed for",
        "install GRUB anew on this disk (grub-install), which writes the place of /boot/grub into it",
        "", stage=Stage.BOOT_LOADER, final=True,
    ),
    row(
        "grub prompt", (NOTHING, Stage.BOOT_LOADER), Where.CONSOLE,
        r"^grub> |Minimal BASH-like line editing",
        "GRUB runs and has no menu: grub.cfg is missing or empty, or not where this firmware's GRUB looks",
        "make grub.cfg anew (update-grub, grub2-mkconfig -o)", "", stage=Stage.BOOT_LOADER, final=True,
    ),
)  # fmt: skip

KERNEL = (
    row(
        "no root option", (Stage.KERNEL, Stage.INITRAMFS), Where.CONSOLE,
        r"No root device specified|dracut: (FATAL|Refusing): .*root|No init found|Target filesystem doesn't have",
        "the kernel command line names no root, or the root it names is not the system's",
        "make grub.cfg anew, and see that its lines have root=UUID=...", "", stage=Stage.ROOT, final=True,
    ),
    row(
        "initramfs damaged", (Stage.KERNEL, Stage.INITRAMFS), Where.CONSOLE,
        r"Initramfs unpacking failed: (?P<why>[^\n]+)",
        "the initramfs is damaged: {why}",
        "make it anew with the guest's own generator", "initramfs.method: rebuild", stage=Stage.INITRAMFS,
    ),
    row(
        "unknown root device", (Stage.KERNEL, Stage.INITRAMFS), Where.CONSOLE,
        r"VFS: (Cannot open root device|Unable to mount root fs on) [\"'](?P<device>[^\"'\n]*)|"
        r"Unable to mount root fs on (?P<block>unknown-block\S+)",
        "the kernel finds no root device {device}{block}: there is no initramfs, or it cannot be read",
        "make the initramfs anew and see that the loader's entry names it", "initramfs.method: rebuild",
        stage=Stage.ROOT, final=True,
    ),
    row(
        "no init", (Stage.KERNEL, Stage.INIT), Where.CONSOLE,
        r"No working init found|Attempted to kill init|run-init: .*: No such file|can't execute '?/sbin/init",
        "the root file system has no init that runs",
        "look at /sbin/init in the guest, and at the panic's lines before this one", "", stage=Stage.INIT,
        final=True,
    ),
    row(
        "kernel panic", (Stage.KERNEL, Stage.SSH), Where.CONSOLE,
        r"Kernel panic - not syncing: (?P<why>[^\n]+)",
        "the kernel panics: {why}", "the lines before the panic say what it did last", "", final=True,
    ),
)  # fmt: skip

ROOT = (
    row(
        "root by disk name", (Stage.KERNEL, Stage.INITRAMFS), Where.CONSOLE,
        r"(ALERT!\s+|Warning: |device )(?P<device>/dev/(?!mapper|disk|md)\w+)( does not exist|, job .*timed out)",
        "the root is named {device}, which is what another machine calls this disk",
        "name it by its UUID", "fstab.by_uuid: true", stage=Stage.ROOT, final=True,
    ),
    row(
        "volume group not found", (Stage.KERNEL, Stage.INITRAMFS), Where.CONSOLE,
        r"Volume group \"(?P<group>[^\"\n]+)\" not found|Cannot process volume group (?P<other>\S+)|"
        r"(ALERT!\s+|Warning: )(?P<path>/dev/mapper/\S+) does not exist",
        "the initramfs does not find the volume group of the root ({group}{other}{path}): the "
        "disk's driver, LVM, or an "
        "old list of devices",
        "have the controller's driver in the initramfs, and no /etc/lvm/devices/system.devices", "initramfs.drivers",
        stage=Stage.ROOT,
    ),
    row(
        "root not found", (Stage.KERNEL, Stage.INITRAMFS), Where.CONSOLE,
        r"(ALERT!\s+|Warning: )(?P<device>\S*(UUID|LABEL|PARTUUID|/dev/)\S*) does not exist|Gave up waiting for root|"
        r"Gave up waiting for (?P<what>\S+) device",
        "the root {device}{what} is not found: the initramfs lacks the driver of this disk's "
        "controller, or the UUID is "
        "another file system's",
        "have the driver in the initramfs; compare root= with blkid", "initramfs.drivers", stage=Stage.ROOT,
    ),
    row(
        "dracut emergency", (Stage.KERNEL, Stage.INITRAMFS), Where.CONSOLE,
        r"dracut-initqueue.*timeout|rdsosreport\.txt|Warning: Could not boot",
        "dracut gave up: what it waited for did not come",
        "its warnings before this line say for what; mostly a driver is missing from the initramfs",
        "initramfs.drivers", stage=Stage.ROOT,
    ),
    row(
        "initramfs shell", (Stage.KERNEL, Stage.INITRAMFS), Where.CONSOLE,
        r"^\(initramfs\) |Press Enter for maintenance|Entering emergency mode",
        "the initramfs gave up and offers a shell", "its lines before this one say why", "initramfs.drivers",
        stage=Stage.ROOT, final=True,
    ),
    row(
        "rootdelay sleep", (Stage.KERNEL, Stage.INITRAMFS), Where.CONSOLE,
        r"Begin: Sleeping for|"
        r"rootdelay=(?P<seconds>[1-9]\d\d+)\b[^\0]*Begin: Loading essential drivers(?![^\0]*scripts/init-premount)",
        "initramfs-tools sleeps the whole of rootdelay={seconds} before it looks for the root",
        "drop rootdelay= on Debian and Ubuntu", "kernel_args.remove: ['rootdelay=*']", stage=Stage.ROOT,
    ),
    row(
        "waiting for root", (Stage.KERNEL, Stage.INITRAMFS), Where.CONSOLE,
        r"Begin: Waiting for root file system|A start job is running for (?P<device>\S*(disk|mapper|dev)\S*)|"
        r"Begin: Waiting for suspend/resume device|dracut-initqueue",
        "the initramfs still waits for the root {device}",
        "have the driver of the disk's controller in the initramfs; compare root= and resume= with blkid",
        "initramfs.drivers", stage=Stage.ROOT,
    ),
    row(
        "file system damaged", (Stage.INITRAMFS, Stage.INIT), Where.CONSOLE,
        r"UNEXPECTED INCONSISTENCY|fsck exited with (status|exit) code [1-9]|"
        r"fsck failed with (exit )?(status|code) [4-9]|"
        r"Failed to start .*File System Check|Structure needs cleaning|XFS .*(Corruption|corrupt)|"
        r"can't read superblock|EXT4-fs \S+ error|EXT4-fs .*: bad (geometry|block)",
        "a file system is damaged and is not repaired without a person",
        "repair it (fsck, xfs_repair) in the source, and apply again", "", stage=Stage.ROOT,
    ),
)  # fmt: skip
