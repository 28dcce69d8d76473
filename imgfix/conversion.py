"""imgfix convert, as its own log: open, copy, emit. No appliance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from imgfix.console import safe
from imgfix.disk.identity import footer_identity
from imgfix.disk.size import AZURE, MIB, Limits, describe, require_larger
from imgfix.disk.source import announce, open_source
from imgfix.disk.vhd import fixed_footer
from imgfix.disk.workcopy import WorkCopy
from imgfix.progress import Progress

#: Room for the footer and what the file system needs besides the data.
_HEADROOM = MIB


@dataclass(frozen=True, slots=True)
class Converted:
    """A VHD that was written: `size` is its virtual size, `held` the space that it takes, in bytes."""

    output: Path
    size: int
    held: int
    warnings: tuple[str, ...]


def convert(
    disk: Path,
    output: Path,
    progress: Progress,
    environ: Mapping[str, str],
    *,
    image_format: str | None = None,
    force: bool = False,
    size: int | None = None,
) -> Converted:
    """Write `disk` to `output` as a fixed VHD; `image_format` is one of formats.NAMES where its bytes do not tell.

    `size` is what the disk is to have, in bytes, whole MiB; it is never made smaller.
    Footer time and UUID come from `environ` or the source (identity.footer_identity). Raises ImgfixError; then there
    is no output and no trace.
    """
    source = open_source(disk, image_format, blank=True)
    announce(source, progress.say)
    if size is not None:
        require_larger(str(disk), source.size, size)
    identity = footer_identity(source, environ)
    with progress.phase("copy"):
        copying = WorkCopy.create(
            source, output, force=force, progress=progress.copied, headroom=_HEADROOM, least=size or 0
        )
    with copying as work:
        with progress.phase("emit"):
            footer = fixed_footer(work.size, timestamp=identity.timestamp, unique_id=identity.unique_id)
            published = work.publish(footer)
        held = published.stat().st_blocks * 512
    return Converted(published, work.size, held, _warnings(work.size, AZURE))


def show(console: Console, done: Converted) -> None:
    """Print what was written, for people."""
    for warning in done.warnings:
        console.print(f"[yellow]warning[/] {safe(warning)}", highlight=False)
    console.print(
        f"{safe(str(done.output))}: fixed VHD of {describe(done.size)}, {describe(done.held)} of them on the disk",
        highlight=False,
        soft_wrap=True,
    )


def _warnings(size: int, limits: Limits) -> tuple[str, ...]:
    """What Azure will say of the size. A conversion may be for other uses: nothing is refused."""
    rows = (
        (size < limits.min_upload, f"Azure takes uploads from {describe(limits.min_upload)}"),
        (size > limits.gen2_max, f"Azure takes OS disks up to {describe(limits.gen2_max)}"),
        (
            limits.gen2_max >= size > limits.gen1_max,
            f"Azure takes OS disks above {describe(limits.gen1_max)} as Generation 2 only",
        ),
    )
    return tuple(f"the disk has {describe(size)}, and {what}" for applies, what in rows if applies)
