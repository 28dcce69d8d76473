"""`imgfix recover`: complete a change in place that was interrupted."""

from __future__ import annotations

from pathlib import Path

import click

from imgfix.commands.paths import FILE


@click.command(short_help="Complete a change in place that was interrupted.")
@click.argument("disk", type=FILE)
def recover(disk: Path) -> None:
    """Complete the change of DISK in place that was interrupted; nothing to do is no error.

    DISK is the name that it had before, whether or not it still has it.
    """
    if not recovered(disk):
        click.echo(f"{disk}: no change in place was interrupted, nothing to recover")


def recovered(disk: Path) -> bool:
    """Complete what was interrupted, and say so; False where there was nothing."""
    from imgfix.disk import inplace

    output = inplace.recover(disk)
    if output is not None:
        click.echo(f"{disk}: an interrupted change in place has been completed; ready: {output}")
    return output is not None
