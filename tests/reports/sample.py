"""A diary of an apply in memory: a guest with hostile names, before and after a real plan."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from imgfix.change import Advice, InstallPackages, Noop, Remove, WriteFile
from imgfix.diary import Diary, Reproduction
from imgfix.disk.formats import Format
from imgfix.disk.partition import Partition, PartitionTable
from imgfix.disk.source import Source, Stamp
from imgfix.errors import CommandError, FailedCommand
from imgfix.facts.model import (
    Distro,
    DriverState,
    Facts,
    Filesystem,
    Generations,
    InitramfsFacts,
    Kernel,
    Package,
    Storage,
    Verdict,
)
from imgfix.guestfish import Place
from imgfix.plan import Item, Plan
from imgfix.profile import Profile
from imgfix.progress import Span
from imgfix.reports.build import build
from imgfix.reports.model import Report, Versions
from tests.fake_tree import FakeEntry, FakeTree

MIB = 1 << 20
EVIL = "\x1b[31m<script>alert(1)<\u2215script>\u202e\udcff"
SHADOW = "root:$6$secret:1::::::\n"
FILES: dict[str, bytes | str | FakeEntry] = {
    "/etc/fstab": "UUID=1 / ext4 defaults 0 1\n/swap none swap sw 0 0",
    "/etc/shadow": FakeEntry(SHADOW, mode=0o640),
    "/var/log/binary": b"\0\1",
    f"/var/log/{EVIL}": f"{EVIL}\n".encode("utf-8", "surrogateescape"),
}
ITEMS = (
    Item("packages", InstallPackages("apt", ("waagent",), "Azure needs them")),
    Item("swap", WriteFile("/etc/fstab", b"UUID=1 / ext4 defaults 0 1\n", "no swap on the OS disk")),
    Item(
        "users", WriteFile("/etc/shadow", SHADOW.replace("$6$secret", "*").encode(), "no password for root")
    ),
    Item("generalize", Remove(f"/var/log/{EVIL}", "a log of the old machine")),
    Item("leftovers", Remove("/var/log/binary", "a log of the old machine")),
    Item("lvm", Noop("there is no LVM")),
    Item("secrets", Advice(f"private keys stay: /root/{EVIL}")),
)
TABLE = PartitionTable(
    "gpt",
    "1",
    True,
    (Partition(1, MIB, 60 * MIB, "t", "u", EVIL), Partition(2, 61 * MIB, 2 * MIB, "t", "u2")),
)
VERSIONS = Versions(
    imgfix="1",
    libguestfs="1.48.6",
    qemu="7.2",
    qemu_img=None,
    python="3.11",
    host_kernel="6",
    accelerator="TCG",
)


class Read:
    """A FakeTree of which digests can be told as the appliance does."""

    def __init__(self, tree: FakeTree) -> None:
        self.lstat, self.read_file, self.listdir = tree.lstat, tree.read_file, tree.listdir

    def sha256(self, path: str) -> str:
        """Return the digest of the file at `path`."""
        return hashlib.sha256(self.read_file(path)).hexdigest()


def facts(place: DriverState, *packages: Package) -> Facts:
    """Return the facts of the guest; its kernel has hv_vmbus at `place`."""
    image = InitramfsFacts("/boot/initrd", 9, "zstd", frozenset({"hv_vmbus"} if packages else ()), ())
    kernel = Kernel(f"6.1.0-{EVIL}", "/boot/vmlinuz", image, (("hv_vmbus", place),), True)
    root = Filesystem("/dev/sda1", "ext4", size=60 * MIB, partition=1, mountpoint="/", free=MIB, label=EVIL)
    return Facts(
        Distro("debian", (), "12", f"Debian {EVIL}", "debian"),
        (kernel,),
        (Package("bash", "5"), *packages),
        Storage("gpt", (root,)),
        generations=Generations(Verdict(True, ("boot code",)), Verdict(False, (EVIL,))),
    )


def diary() -> Diary:
    """Return the diary of an apply that went well."""
    source = Source(Path("/disks/web 1.raw"), Format.RAW, 64 * MIB, None, TABLE, Stamp(0, 0, 0, 0))
    made = Diary(detailed=True, began=0.0, source=source, target=Path("/out/web 1.vhd"))
    made.profile, made.size, made.table, made.launches = Profile(name="test"), 64 * MIB, TABLE, 1
    made.saw(facts(DriverState.MODULE))
    tree = FakeTree(FILES)
    made.planned(Plan(ITEMS), Read(tree))
    made.saw(facts(DriverState.MODULE, Package("waagent", "2.9")))
    made.changed(Read(tree.edited(Plan(ITEMS).edits)))
    made.published, made.source_sha256, made.output_sha256 = True, "0" * 64, "1" * 64
    return made


def failed() -> Diary:
    """Return the diary of an apply in which a command of the guest failed."""
    made = replace(diary(), published=False, output_sha256=None)
    command = FailedCommand(("sh", "-c", f"echo {EVIL}; exit 7"), 7, f"{EVIL}\n")
    made.error = CommandError(f"it failed: {EVIL}", command=command, hint="try it")
    made.failed_in = "apply"
    made.reproduction = Reproduction(command, (Place("/dev/sda1", "/"),), (), network=False)
    return made


def report(of: Diary) -> Report:
    """Return the report of a diary."""
    spans = (
        Span("copy", 0.0, 1.0),
        Span("verify", 1.0, 2.0),
        Span("apply", 3.0, 90.0),
        Span("verify", 93.0, 0.01),
    )
    return build(of, spans, VERSIONS, {"swap": ("R7",)}, ended=93.0)
