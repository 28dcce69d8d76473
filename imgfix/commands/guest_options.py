"""Options of the commands that look into a guest: its profile, and its keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from imgfix.profile import Profile
    from imgfix.suits import Auto

_T = TypeVar("_T", bound=Callable[..., object])


def profile_options(command: _T) -> _T:
    """Add the options that change a profile."""
    command = click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override a profile setting; repeatable.",
    )(command)
    return click.option(
        "--mode",
        type=click.Choice(["generalized", "specialized"]),
        help="Image for many VMs, or this very VM.",
    )(command)


def key_option(command: _T) -> _T:
    """Add the option that names key files."""
    return click.option(
        "--key",
        "key_files",
        multiple=True,
        metavar="FILE",
        help="Key or passphrase of an encrypted disk, in a file (- for standard input); repeatable. "
        "IMGFIX_KEY in the environment holds a passphrase.",
    )(command)


def load(name: str, mode: str | None, settings: Sequence[str]) -> Profile:
    """Load the profile, with what the options change in it."""
    from imgfix import profile_load

    return profile_load.load(name, _changes(mode, settings))


def wish(name: str, mode: str | None, settings: Sequence[str]) -> Profile | Auto:
    """Load the profile, or for `auto` all of them: a wrong setting is told before anything starts."""
    from imgfix import profile_load
    from imgfix.suits import Auto

    if name == profile_load.AUTO:
        return Auto(profile_load.load_bundled(_changes(mode, settings)))
    return load(name, mode, settings)


def _changes(mode: str | None, settings: Sequence[str]) -> list[str]:
    return [*settings, *([f"mode={mode}"] if mode else [])]
