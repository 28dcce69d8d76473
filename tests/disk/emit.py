"""From a source to a published VHD, and a look at what that left in the folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imgfix.disk.identity import footer_identity
from imgfix.disk.source import Source
from imgfix.disk.vhd import fixed_footer, parse_footer
from imgfix.disk.workcopy import WorkCopy
from imgfix.errors import ImgfixError


def convert(source: Source, out: Path, *, force: bool = False) -> Path:
    """What emitting a disk without any change does."""
    timestamp, unique_id = footer_identity(source, {})
    with WorkCopy.create(source, out, force=force) as work:
        return work.publish(fixed_footer(work.size, timestamp=timestamp, unique_id=unique_id))


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def data_of(path: Path) -> bytes:
    """The guest's bytes of a fixed VHD, after a look at its footer."""
    content = path.read_bytes()
    return content[: parse_footer(content[-512:], len(content)).current_size]


def refusal(source: Source, out: Path, *, force: bool = False) -> ImgfixError:
    """The error, after a look at what stands in the output's folder, before and after."""
    folder = out.parent
    before = left_in(folder) if folder.is_dir() else []
    with pytest.raises(ImgfixError) as caught:
        WorkCopy.create(source, out, force=force)
    assert (left_in(folder) if folder.is_dir() else []) == before
    return caught.value


def failing(code: int) -> Callable[..., int]:
    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    return fail
