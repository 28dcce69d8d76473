"""`imgfix convert`: any image in, a fixed VHD out, nothing changed in the guest."""

from __future__ import annotations

import os
from pathlib import Path

import click

from imgfix.commands.options import format_option
from imgfix.commands.paths import FILE
from imgfix.commands.sizing import size_option


@click.command(short_help="Write any image as a fixed VHD; the guest stays as it is.")
@click.argument("disk", metavar="IN", type=FILE)
@click.argument("output", metavar="OUT.vhd", type=FILE)
@format_option
@size_option
@click.option("--force", is_flag=True, help="Replace an existing output.")
def convert(disk: Path, output: Path, image_format: str | None, size: str | None, force: bool) -> None:
    """Write IN as a fixed VHD of whole MiB; the guest in it is not changed, and IN itself never is.

    IN is a raw image, VHD, VHDX, qcow2, VMDK, VDI or OVA.
    """
    from rich.console import Console

    from imgfix import conversion
    from imgfix.console import terminal_progress
    from imgfix.disk.size import parse_size
    from imgfix.interrupt import Interrupts

    wanted = parse_size(size) if size is not None else None
    with Interrupts().installed():
        with terminal_progress() as progress:
            done = conversion.convert(
                disk, output, progress, os.environ, image_format=image_format, force=force, size=wanted
            )
        conversion.show(Console(), done)
