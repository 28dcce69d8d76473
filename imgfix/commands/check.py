"""`imgfix check`: is a disk ready for Azure, requirement by requirement? Changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import click

from imgfix.commands import profiles
from imgfix.commands.guest_options import key_option, profile_options, wish
from imgfix.commands.options import format_option
from imgfix.commands.paths import FILE
from imgfix.errors import ExitCode


@click.command(short_help="Is DISK ready for Azure? What would apply change?")
@click.argument(
    "arguments", nargs=-1, required=True, metavar="[PROFILE] DISK", shell_complete=profiles.complete_first
)
@click.option("--json", "as_json", is_flag=True, help="The verdict as JSON on stdout.")
@click.option("-v", "--verbose", is_flag=True, help="Show every finding with its evidence.")
@click.option(
    "--packages",
    type=FILE,
    metavar="DIR",
    help="Packages that apply would install from DIR.",
)
@format_option
@key_option
@profile_options
def check(
    arguments: tuple[str, ...],
    as_json: bool,
    verbose: bool,
    packages: Path | None,
    image_format: str | None,
    key_files: tuple[str, ...],
    mode: str | None,
    settings: tuple[str, ...],
) -> None:
    """Tell whether DISK is ready for Azure, and what `apply` would change in it; DISK itself is never changed.

    PROFILE is as for `apply`; without it: auto. Exit 0 if DISK is ready, 6 if it is not. `imgfix schema readiness`
    prints the schema of --json.
    """
    from imgfix import checking
    from imgfix.keys import read_keys

    if len(arguments) > 2:
        raise click.UsageError(f"one PROFILE and one DISK, here are {len(arguments)} arguments")
    if len(arguments) == 1 and arguments[0] in profiles.names() and not os.path.lexists(arguments[0]):
        raise click.UsageError(f"{arguments[0]} is a profile; the disk is missing: check {arguments[0]} DISK")
    profile, disk = arguments if len(arguments) == 2 else ("auto", arguments[0])
    wanted = wish(profile, mode, settings)
    readiness = checking.check(wanted, Path(disk), read_keys(key_files, os.environ), packages, image_format)
    checking.show(readiness, as_json=as_json, verbose=verbose)
    if not readiness.ready:
        raise click.exceptions.Exit(ExitCode.NOT_READY)
