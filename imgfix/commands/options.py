"""Options that more than one command has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

#: The keys of imgfix.disk.formats.NAMES, which is not imported for --help.
IMAGE_FORMATS = ("raw", "vhd", "vhdx", "qcow2", "vmdk", "vdi", "ova")

_T = TypeVar("_T", bound=Callable[..., object])


def format_option(command: _T) -> _T:
    """Add the option that says what a disk image is."""
    return click.option(
        "--format",
        "image_format",
        type=click.Choice(IMAGE_FORMATS),
        help="What the disk image is, where its bytes do not tell.",
    )(command)
