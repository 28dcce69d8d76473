"""`apply --dry-run` and `--diff`: the same call, and nothing is written."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from imgfix.commands.guest_options import wish

_T = TypeVar("_T", bound=Callable[..., object])


def options(command: _T) -> _T:
    """Add the options; with --dry-run the command itself is not called."""

    @functools.wraps(command)
    def either(*, dry_run: bool, diff: bool, **others: object) -> object:
        if diff and not dry_run:
            raise click.UsageError("--diff shows what --dry-run finds: give both")
        if not dry_run:
            return command(**others)
        if others.pop("size", None) or others.pop("grow_root", False):
            raise click.UsageError(
                "--dry-run shows what changes in the guest, and nothing of --size and --grow-root"
            )
        if others.pop("reports", ()):
            raise click.UsageError(
                "--report tells of an apply that is done; --dry-run is told on stdout, for programs by `check --json`"
            )
        if others.pop("rehearsed", False):
            raise click.UsageError("--rehearse boots what an apply made, and --dry-run makes nothing")
        _run(diff=diff, **others)  # type: ignore[arg-type]  # click gives what the options say
        return None

    decorated: Callable[..., object] = either
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[return-value]  # click's decorators keep the signature


def _run(
    *,
    profile: str,
    disk: Path,
    packages: Path | None,
    no_network: bool,
    image_format: str | None,
    key_files: tuple[str, ...],
    mode: str | None,
    settings: tuple[str, ...],
    chroot: str,
    diff: bool,
    **_others: object,
) -> None:
    """Preview the apply; what is said of its output does not matter."""
    from imgfix import dryrun
    from imgfix.keys import read_keys
    from imgfix.preview import Wish

    wanted = wish(profile, mode, settings)
    keys = read_keys(key_files, os.environ)
    asked = Wish(wanted, disk, keys, packages, image_format, host_chroot=chroot == "host")
    dryrun.run(asked, network=not no_network, diff=diff)


_OPTIONS = (
    click.option("--dry-run", is_flag=True, help="Show what would be done, with the reasons; write nothing."),
    click.option(
        "--diff", is_flag=True, help="With --dry-run: a unified diff a file; in a pipe a patch for patch -p1."
    ),
)
