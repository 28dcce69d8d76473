"""imgfix inspect: the facts of a disk, read-only, as a table or JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from enum import Enum
from pathlib import Path

from rich.console import Console
from rich.table import Table

from imgfix.console import safe
from imgfix.disk.overlay import overlay
from imgfix.disk.partition import PartitionTable
from imgfix.disk.size import GIB, MIB
from imgfix.disk.source import announce, open_source
from imgfix.facts.model import DriverState, Facts, Kernel
from imgfix.facts.reader import DRIVERS
from imgfix.interrupt import Interrupts
from imgfix.keys import Key
from imgfix.progress import Progress
from imgfix.session import opened
from imgfix.steps.storage import remarks


def inspect(
    disk: Path,
    progress: Progress,
    interrupts: Interrupts,
    keys: Sequence[Key] = (),
    image_format: str | None = None,
) -> tuple[Facts, PartitionTable]:
    """Read the facts of `disk`, which is opened read-only; `keys` open encrypted volumes. Raises ImgfixError.

    `image_format` is one of formats.NAMES where the bytes of `disk` do not tell.
    """
    source = open_source(disk, image_format)
    announce(source, progress.say)
    with ExitStack() as stack:
        above = stack.enter_context(overlay(source))
        with progress.phase("launch"):
            opening = opened(
                above,
                source.table,
                writable=True,
                image_format="qcow2",
                keys=keys,
                interrupts=interrupts,
                say=progress.say,
            )
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
    console.print(_storage(facts), _kernels(facts))
    for line in _lines(facts):
        console.print(line, highlight=False)
    for remark in remarks(facts.storage):
        console.print(f"[yellow]note[/] {safe(remark)}", highlight=False)


def _lines(facts: Facts) -> Iterator[str]:
    """What fits no table: the verdicts on both generations, lines that disable drivers, packages."""
    if facts.generations is not None:
        for number, verdict in ((1, facts.generations.gen1), (2, facts.generations.gen2)):
            word = "[green]boots[/]" if verdict.possible else "[yellow]does not boot[/]"
            yield f"Generation {number}: {word}: {safe('; '.join(verdict.reasons))}"
    for one in facts.disabled:
        yield f"{safe(one.place)}: `{safe(one.directive)}` keeps {one.driver} from loading"
    yield f"{len(facts.packages)} packages"


def _storage(facts: Facts) -> Table:
    found = facts.generations
    verdicts = (("BIOS", found.gen1), ("UEFI", found.gen2)) if found is not None else ()
    boots = " and ".join(name for name, verdict in verdicts if verdict.possible)
    grid = Table(title=f"{facts.storage.scheme or 'no partition table'}, boots by {boots or 'nothing'}")
    for column in ("device", "type", "mounted at", "size", "free", "UUID"):
        grid.add_column(column, overflow="fold")
    for f in facts.storage.filesystems:
        free = _short(f.free) if f.free is not None else ""
        grid.add_row(safe(f.device), f.fstype, safe(f.mountpoint or ""), _short(f.size), free, safe(f.uuid))
    return grid


def _short(size: int) -> str:
    return f"{size / GIB:.2f} GiB" if size >= GIB else f"{size / MIB:.0f} MiB"


def _kernels(facts: Facts) -> Table:
    """A column a kernel: there are more drivers than kernels."""
    grid = Table(title="kernels, and where each has its drivers")
    grid.add_column("")
    for kernel in facts.kernels:
        grid.add_column(safe(kernel.release), overflow="fold")
    grid.add_row("initramfs", *(_image(kernel) for kernel in facts.kernels), end_section=True)
    disabled = {one.driver for one in facts.disabled}
    for name in DRIVERS:
        grid.add_row(name, *(_driver(kernel, name, disabled) for kernel in facts.kernels))
    return grid


def _image(kernel: Kernel) -> str:
    image = kernel.initramfs
    return f"{image.compression}, {len(image.modules)} modules" if image else "none"


def _driver(kernel: Kernel, name: str, disabled: set[str]) -> str:
    state = kernel.driver(name)
    if state is not DriverState.MODULE:
        return str(state.value)
    where = "initramfs" if kernel.initramfs and name in kernel.initramfs.modules else "module"
    return f"{where}, disabled" if name in disabled else where


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
