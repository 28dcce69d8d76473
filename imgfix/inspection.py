"""imgfix inspect: the facts of a disk, read-only, as a table or JSON. `imgfix schema inspection` prints its schema."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Literal

from rich.console import Group
from rich.table import Table

from imgfix import __version__
from imgfix.console import safe, standard_output
from imgfix.disk.overlay import overlay
from imgfix.disk.partition import PartitionTable
from imgfix.disk.size import short
from imgfix.disk.source import announce, open_source
from imgfix.facts.bootloader import Bootloader, read_bootloader
from imgfix.facts.model import DriverState, Facts, Kernel
from imgfix.facts.reader import DRIVERS
from imgfix.interrupt import Interrupts
from imgfix.keys import Key
from imgfix.progress import Progress
from imgfix.reports.part import visible
from imgfix.session import opened
from imgfix.steps.storage import remarks

VERSION: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a disk holds."""

    facts: Facts
    table: PartitionTable
    bootloader: Bootloader


@dataclass(frozen=True, slots=True)
class Document:
    """What --json prints. The version changes whenever a field changes its meaning, or goes.

    Bytes of the guest that are no UTF-8 are written `\\xNN`; sets are sorted.
    """

    format: Literal["imgfix-inspection"]
    version: Literal[1]
    imgfix: str
    facts: Facts
    partitions: PartitionTable
    boot_loader: Bootloader


def inspect(
    disk: Path,
    progress: Progress,
    interrupts: Interrupts,
    keys: Sequence[Key] = (),
    image_format: str | None = None,
) -> Inspected:
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
                name=source.path,
                writable=True,
                image_format="qcow2",
                keys=keys,
                interrupts=interrupts,
                say=progress.say,
            )
            session = stack.enter_context(opening)
        with progress.phase("inspect"):
            facts = session.facts()
            bootloader = read_bootloader(session.guest, facts.storage)
            session.close_clean()
    return Inspected(facts, source.table, bootloader)


def show(found: Inspected, *, as_json: bool) -> None:
    """Print the facts on stdout."""
    facts = found.facts
    if as_json:
        told = Document("imgfix-inspection", VERSION, __version__, facts, found.table, found.bootloader)
        print(json.dumps(_plain(told), indent=2, sort_keys=True))
        return
    console = standard_output()
    storage = _storage(facts, is_cut=console.is_terminal)
    console.print(
        f"[bold]{safe(facts.distro.pretty_name)}[/] (family {facts.distro.family}), "
        f"{len(facts.packages)} packages",
        highlight=False,
    )
    console.print(_boot(facts, found.bootloader), "", storage, "", _kernels(facts), highlight=False)
    for line in _lines(facts):
        console.print(line, highlight=False)


def _boot(facts: Facts, loader: Bootloader) -> Table:
    """Both generations of VMs with their reasons, and what boots the guest."""
    grid = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1))
    for style in ("bold", "", "dim"):
        grid.add_column(style=style, overflow="fold")
    found = facts.generations
    for name, verdict in (
        ("Generation 1", found.gen1 if found else None),
        ("Generation 2", found.gen2 if found else None),
    ):
        if verdict is not None:
            word = "[green]boots[/]" if verdict.possible else "[yellow]does not boot[/]"
            grid.add_row(name, word, safe("; ".join(verdict.reasons)))
    for index, (name, paths) in enumerate(_loaders(loader)):
        grid.add_row("" if index else "boot loader", name, safe("\n".join(paths)))
    return grid


def _loaders(loader: Bootloader) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield each boot loader with the files that configure it."""
    if loader.grub2:
        stubs = {config.path: f"{config.path} (leads to {config.leads_to})" for config in loader.grub2}
        yield "GRUB 2", [c.path if c.leads_to is None else stubs[c.path] for c in loader.grub2]
    if loader.generator:
        yield "made by", (loader.generator,)
    if loader.legacy:
        yield "GRUB legacy", loader.legacy
    if loader.systemd_boot:
        yield "systemd-boot", ("on the EFI system partition",)
    if loader.entries:
        yield "BLS entries", loader.entries
    if loader.unified:
        yield "unified kernel images", loader.unified
    for name, path in loader.others:
        yield name, (path,)
    if not (loader.is_editable or loader.unified or loader.others):
        yield "[yellow]none that is known[/]", ()


def _lines(facts: Facts) -> Iterator[str]:
    """What fits no table: lines that disable drivers, and remarks on the storage."""
    for one in facts.disabled:
        yield f"[yellow]note[/] {safe(one.place)}: `{safe(one.directive)}` keeps {one.driver} from loading"
    for remark in remarks(facts.storage):
        yield f"[yellow]note[/] {safe(remark)}"


def _storage(facts: Facts, *, is_cut: bool) -> Group:
    """Return a row a file system. `is_cut`: a UUID that does not fit is cut, and not wrapped."""
    found = facts.generations
    verdicts = (("BIOS", found.gen1), ("UEFI", found.gen2)) if found is not None else ()
    boots = " and ".join(name for name, verdict in verdicts if verdict.possible)
    grid = _grid()
    for column in ("device", "type", "mounted at", "size", "free", "UUID"):
        grid.add_column(
            column,
            overflow="ellipsis" if is_cut and column == "UUID" else "fold",
            no_wrap=is_cut and column == "UUID",
            justify="right" if column in ("size", "free") else "left",
            header_style="dim",
        )
    for f in facts.storage.filesystems:
        free = short(f.free) if f.free is not None else ""
        grid.add_row(safe(f.device), f.fstype, safe(f.mountpoint or ""), short(f.size), free, safe(f.uuid))
    return Group(
        f"[bold]{facts.storage.scheme or 'no partition table'}[/], boots by {boots or 'nothing'}", grid
    )


def _grid() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 1))


def _kernels(facts: Facts) -> Group:
    """A column a kernel: there are more drivers than kernels."""
    grid = _grid()
    grid.add_column("", style="bold")
    for kernel in facts.kernels:
        grid.add_column(safe(kernel.release), overflow="fold", header_style="dim")
    grid.add_row("initramfs", *(_image(kernel) for kernel in facts.kernels))
    disabled = {one.driver for one in facts.disabled}
    for name in DRIVERS:
        grid.add_row(name, *(_driver(kernel, name, disabled) for kernel in facts.kernels))
    return Group("[bold]kernels, and where each has its drivers[/]", grid)


def _image(kernel: Kernel) -> str:
    image = kernel.initramfs
    return f"{image.compression}, {len(image.modules)} modules" if image else "none"


def _driver(kernel: Kernel, name: str, disabled: set[str]) -> str:
    state = kernel.driver(name)
    if state is not DriverState.MODULE:
        return f"[dim]{state.value}[/]" if state is DriverState.MISSING else str(state.value)
    where = "[green]initramfs[/]" if kernel.initramfs and name in kernel.initramfs.modules else "module"
    return f"{where}, [yellow]disabled[/]" if name in disabled else where


def _plain(value: object) -> object:
    """Return dataclasses, enums and sets as what JSON has."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, frozenset):
        return sorted((_plain(part) for part in value), key=str)
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
