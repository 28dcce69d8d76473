"""How large the disk becomes: --size, --grow-root."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import click

_T = TypeVar("_T", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Sizing:
    """The options of one call; `size` in bytes, None to leave it."""

    size: int | None
    grow_root: bool


def options(command: _T) -> _T:
    """Add the options; the command gets them as one argument, `sizing`."""

    @functools.wraps(command)
    def gathered(*arguments: object, size: str | None, grow_root: bool, **others: object) -> object:
        from imgfix.disk.size import parse_size

        wanted = parse_size(size) if size is not None else None
        return command(*arguments, sizing=Sizing(wanted, grow_root), **others)

    decorated: Callable[..., object] = gathered
    for option in (_GROW_ROOT, size_option):
        decorated = option(decorated)
    return decorated  # type: ignore[return-value]  # click's decorators keep the signature


size_option = click.option(
    "--size",
    metavar="SIZE",
    help="Virtual size of the disk: 64G, 65536M or bytes; whole MiB, and never smaller than it is.",
)
_GROW_ROOT = click.option(
    "--grow-root",
    is_flag=True,
    help="Let the root take the space behind it: partition, LVM volume, file system.",
)
