"""Writing a disk: partition tables and file systems natively, the rest in one appliance."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgfix.appliance import DISK, EMULATED_APPEND, LABEL, kernel_name

from .host import DiskError, kvm_works, run, say

SECTOR = 512
MIB = 1024 * 1024

BIOS_GRUB = "ef02"
ESP = "ef00"
LINUX = "8300"
SWAP = "8200"


@dataclass(frozen=True, slots=True)
class Partition:
    """One GPT partition; a size of 0 MiB reaches to the last usable sector."""

    number: int
    mib: int
    code: str
    name: str
    guid: str


def create(disk: Path, size: int) -> None:
    """An empty sparse disk of `size` bytes, which must be whole sectors."""
    with disk.open("xb") as file:
        file.truncate(size)


def write_gpt(disk: Path, guid: str, partitions: Sequence[Partition]) -> None:
    argv = ["sgdisk", "-U", guid]
    for part in partitions:
        argv += [
            "-n",
            f"{part.number}:0:{f'+{part.mib}M' if part.mib else '0'}",
            "-t",
            f"{part.number}:{part.code}",
        ]
        argv += ["-c", f"{part.number}:{part.name}", "-u", f"{part.number}:{part.guid}"]
    run((*argv, disk))


def write_mbr(
    disk: Path,
    identifier: int,
    partitions: Sequence[tuple[int, str, bool]],
    logical: Sequence[tuple[int, str]] = (),
) -> None:
    """Primary partitions of (MiB, type, active), each behind the one before, the first at 1 MiB.

    `logical` ones of (MiB, type) lie in the last primary.
    """
    lines = ["label: dos", f"label-id: {identifier:#010x}"]
    for mib, kind, active in partitions:
        size = f"size={mib}MiB, " if mib else ""
        lines.append(f"{size}type={kind}{', bootable' if active else ''}")
    for mib, kind in logical:
        lines.append(f"{f'size={mib}MiB, ' if mib else ''}type={kind}")
    run(("sfdisk", "--no-reread", "--no-tell-kernel", disk), stdin="\n".join(lines) + "\n")


def extents(disk: Path) -> dict[int, tuple[int, int]]:
    """Start and length, in bytes, of each partition by number."""
    found: dict[int, tuple[int, int]] = {}
    for line in run(("sfdisk", "--dump", disk)).splitlines():
        name, colon, rest = line.partition(" : ")
        if not colon or "start=" not in rest:
            continue
        fields = dict(field.strip().split("=", 1) for field in rest.split(",") if "=" in field)
        number = int(name.removeprefix(str(disk)).lstrip("p"))
        found[number] = (int(fields["start"]) * SECTOR, int(fields["size"]) * SECTOR)
    return found


def make_ext4(disk: Path, source: Path, start: int, length: int, uuid: str, label: str) -> None:
    """An ext4 at `start`, filled from a folder. GRUB 2.06 cannot read metadata_csum_seed."""
    argv = ["mkfs.ext4", "-q", "-F", "-O", "^metadata_csum_seed", "-U", uuid, "-L", label]
    argv += ["-E", f"offset={start}", "-d", str(source), str(disk), f"{length // 1024}k"]
    run(argv)


def make_vfat(disk: Path, start: int, length: int, volume: str, label: str) -> None:
    # One sector a cluster: mkfs would choose by the size of the disk, and firmware refuses a FAT32 of few clusters.
    argv = ["mkfs.vfat", "-F", "32", "-s", "1", "-i", volume, "-n", label, "--offset", str(start // SECTOR)]
    run((*argv, disk, str(length // 1024)))


@contextmanager
def appliance(disk: Path) -> Iterator[Any]:
    """One launched appliance with the disk; writes reach the file before it returns."""
    with crashing(disk) as g:
        yield g
        g.umount_all()
        g.sync()
        g.shutdown()


@contextmanager
def crashing(disk: Path) -> Iterator[Any]:
    """One launched appliance whose machine loses its power at the end; what was synced is in the file."""
    os.environ.setdefault("LIBGUESTFS_BACKEND", "direct")
    import guestfs  # noqa: PLC0415  only who builds a disk needs the bindings

    say("launching the appliance")
    g = guestfs.GuestFS(python_return_dict=True)
    try:
        g.set_memsize(1024)
        g.set_autosync(False)  # close() would unmount
        if not kvm_works():
            g.set_backend_settings(["force_tcg"])
            g.set_append(EMULATED_APPEND)
        g.add_drive_opts(str(disk), format="raw", cachemode="unsafe", label=LABEL)
        g.launch()
        yield g
    finally:
        g.close()


def renamed(g: Any, text: str) -> str:
    """Replace /dev/sda, as libguestfs calls the disk, by what it is called in this launch: see imgfix.appliance."""
    return text.replace(DISK, kernel_name(g))


def shell(g: Any, *lines: str) -> str:
    """Run lines with the appliance's own shell; the first that fails ends it."""
    # udev makes the names of new devices when it gets round to it.
    script = "\n".join(("set -e", *lines, "udevadm settle --timeout=60"))
    answer = str(g.debug("sh", [f"( {renamed(g, script)}\n) 2>&1; echo status=$?"]))
    output, _, status = answer.strip().rpartition("status=")
    if status != "0":
        raise DiskError(f"in the appliance:\n{output}")
    return output
