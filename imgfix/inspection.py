"""imgfix inspect: the facts of a disk, read-only, as a table or JSON."""

from __future__ import annotations

import dataclasses
import json
from contextlib import ExitStack
from enum import Enum
from pathlib import Path

from rich.console import Console
from rich.table import Table

from imgfix.console import safe
from imgfix.disk.partition import PartitionTable
from imgfix.disk.size import GIB, MIB
from imgfix.disk.source import open_source
from imgfix.facts.model import DriverState, Facts, Kernel
from imgfix.facts.reader import DRIVERS
from imgfix.interrupt import Interrupts
from imgfix.progress import Progress
from imgfix.session import opened


def inspect(disk: Path, progress: Progress, interrupts: Interrupts) -> tuple[Facts, PartitionTable]:
    """Read the facts of `disk`, which is opened read-only. Raises ImgfixError."""
    source = open_source(disk)
    with ExitStack() as stack:
        with progress.phase("launch"):
            opening = opened(disk, source.table, writable=False, interrupts=interrupts, say=progress.say)
            session = stack.enter_context(opening)
        with progress.phase("inspect"):
            facts = session.facts()
            session.close_clean()
    return facts, source.table


def show(facts: Facts, table: PartitionTable, *, as_json: bool) -> None:
    """Print the facts on stdout."""
    if as_json:
        data = {"facts": _plain(facts), "partitions": _plain(table)}
        print(json.dumps(data, indent=2, sort_keys=True))
        return
    console = Console()
    console.print(
        f"[bold]{safe(facts.distro.pretty_name)}[/] (family {facts.distro.family})", highlight=False
    )
    console.print(_storage(facts, table), _kernels(facts))
    console.print(f"{len(facts.packages)} packages", highlight=False)


def _storage(facts: Facts, table: PartitionTable) -> Table:
    boots = [name for name, can in (("BIOS", table.has_boot_code), ("UEFI", facts.storage.has_esp)) if can]
    grid = Table(
        title=f"{facts.storage.scheme or 'no partition table'}, boots by {' and '.join(boots) or 'nothing'}"
    )
    for column in ("device", "type", "mounted at", "size", "free", "UUID"):
        grid.add_column(column, overflow="fold")
    for f in facts.storage.filesystems:
        free = _short(f.free) if f.free is not None else ""
        grid.add_row(safe(f.device), f.fstype, safe(f.mountpoint or ""), _short(f.size), free, safe(f.uuid))
    return grid


def _short(size: int) -> str:
    return f"{size / GIB:.2f} GiB" if size >= GIB else f"{size / MIB:.0f} MiB"


def _kernels(facts: Facts) -> Table:
    grid = Table(title="kernels, and where each has its drivers")
    for column in ("kernel", "initramfs", *DRIVERS):
        grid.add_column(column)
    for kernel in facts.kernels:
        image = kernel.initramfs
        grid.add_row(
            safe(kernel.release),
            f"{image.compression}, {len(image.modules)} modules" if image else "none",
            *(_driver(kernel, name) for name in DRIVERS),
        )
    return grid


def _driver(kernel: Kernel, name: str) -> str:
    state = kernel.driver(name)
    if state is not DriverState.MODULE:
        return str(state.value)
    return "initramfs" if kernel.initramfs and name in kernel.initramfs.modules else "module"


def _plain(value: object) -> object:
    """Return dataclasses, enums and sets as what JSON has."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
