"""`imgfix verify`: is a finished VHD what Azure wants, the file and all that is in it? Changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import click

from imgfix.commands import profiles
from imgfix.commands.guest_options import key_option, profile_options, wish
from imgfix.commands.paths import FILE
from imgfix.errors import ExitCode


@click.command(short_help="Prove a finished VHD: the file, and all that is in it.")
@click.argument("disk", metavar="OUT.vhd", type=FILE)
@click.option(
    "--against",
    metavar="PROFILE",
    default="auto",
    shell_complete=profiles.complete,
    help="The profile that it was made with; default: auto.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="The verdict as JSON on stdout; its schema is that of check."
)
@click.option("-v", "--verbose", is_flag=True, help="Show every finding with its evidence.")
@key_option
@profile_options
def verify(
    disk: Path,
    against: str,
    as_json: bool,
    verbose: bool,
    key_files: tuple[str, ...],
    mode: str | None,
    settings: tuple[str, ...],
) -> None:
    """Verify OUT.vhd: footer, size, partition table, every file system, and each requirement once more.

    OUT.vhd itself is never changed. Exit 0 if all is as PROFILE wants it, else 6.
    """
    from imgfix import checking
    from imgfix.keys import read_keys

    wanted = wish(against, mode, settings)
    readiness = checking.verify(wanted, disk, read_keys(key_files, os.environ))
    checking.show(readiness, as_json=as_json, verbose=verbose)
    if not readiness.ready:
        raise click.exceptions.Exit(ExitCode.NOT_READY)
