"""`imgfix apply`: the main job."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imgfix.commands import dry_run, profiles
from imgfix.commands import sizing as sizings
from imgfix.commands import telling as tellings
from imgfix.commands.guest_options import key_option, profile_options, wish
from imgfix.commands.options import format_option
from imgfix.commands.paths import FILE
from imgfix.commands.recover import recovered

if TYPE_CHECKING:
    from imgfix.pipeline import Request


@click.command(short_help="Make DISK ready for Azure, as a fixed VHD of its own.")
@click.argument("profile", shell_complete=profiles.complete)
@click.argument("disk", type=FILE)
@click.option("-o", "--output", type=FILE, help="The VHD to write; default: DISK with .vhd.")
@click.option("--force", is_flag=True, help="Replace an existing output.")
@click.option(
    "--in-place",
    is_flag=True,
    help="No second copy: DISK itself becomes the VHD. There is no way back; see docs/in-place.md.",
)
@click.option(
    "--packages",
    type=FILE,
    metavar="DIR",
    help="Install missing packages from the .deb or .rpm files in DIR, without a network.",
)
@click.option("--no-network", is_flag=True, help="Never give the appliance a network, not even for packages.")
@click.option(
    "--rehearse",
    "rehearsed",
    is_flag=True,
    help="Publish only what boots on a simulated Azure; minutes without KVM.",
)
@click.option(
    "--chroot",
    type=click.Choice(["appliance", "host"]),
    default="appliance",
    help="Where the guest's initramfs generator runs; host: in a sandbox here, quick without KVM, see "
    "docs/host-chroot.md.",
)
@format_option
@key_option
@profile_options
@dry_run.options
@sizings.options
@tellings.options
def apply(
    profile: str,
    disk: Path,
    output: Path | None,
    force: bool,
    in_place: bool,
    packages: Path | None,
    no_network: bool,
    rehearsed: bool,
    chroot: str,
    image_format: str | None,
    key_files: tuple[str, ...],
    mode: str | None,
    settings: tuple[str, ...],
    sizing: sizings.Sizing,
    telling: tellings.Telling,
) -> None:
    """Prepare DISK as PROFILE says and write a fixed VHD; DISK itself is never changed, unless --in-place says so.

    DISK is a raw image, VHD, VHDX, qcow2, VMDK, VDI or OVA.

    PROFILE is a file, a bundled name (`imgfix profile list`), or auto: the bundled one for the guest's distribution.
    """
    if in_place and rehearsed:
        raise click.UsageError(
            "--rehearse comes before publishing, and with --in-place there is nothing to hold back"
        )
    from imgfix.keys import read_keys
    from imgfix.pipeline import Request

    wanted = wish(profile, mode, settings)
    keys = read_keys(key_files, os.environ)
    request = Request(
        wanted,
        disk,
        output,
        force,
        not no_network,
        keys,
        packages,
        image_format,
        in_place,
        telling.keep_failed,
        rehearsed,
        sizing.size,
        sizing.grow_root,
        chroot == "host",
    )
    if not (in_place and recovered(disk)):
        _run(request, telling)


def _run(request: Request, telling: tellings.Telling) -> None:
    """Carry the request out and tell of it."""
    from rich.console import Console

    from imgfix import pipeline, report
    from imgfix.console import standard_output
    from imgfix.interrupt import Interrupts

    interrupts = Interrupts()
    with interrupts.installed():
        with telling.of(request.disk, request.target) as (progress, diary):
            result = pipeline.run(request, progress, interrupts, diary)
        report.show(standard_output(), result, progress.seconds, telling.reports)
        if result.rehearsal is not None:
            from imgfix.rehearsal import show

            show.show(Console(), result.rehearsal)
