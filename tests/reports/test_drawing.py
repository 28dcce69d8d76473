"""Where the drawings' boxes stand: inside, in order, none over another."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfix.reports import drawing
from imgfix.reports.drawing import WIDTH, duration, human
from imgfix.reports.model import Disk, Phase, Piece

MIB = 1 << 20


def disk(sizes: list[int], gap: int) -> Disk:
    """Return a disk of partitions of `sizes` MiB with `gap` MiB before each, and one volume."""
    pieces, at = [], 0
    for number, size in enumerate(sizes, 1):
        at += gap * MIB
        pieces.append(_piece(number, at, size * MIB))
        at += size * MIB
    return Disk(scheme="gpt", size=at + MIB, pieces=(*pieces, _piece(None, None, MIB)))


def _piece(number: int | None, start: int | None, size: int) -> Piece:
    return Piece(
        name="x",
        number=number,
        start=start,
        size=size,
        type="",
        content="ext4",
        mountpoint=None,
        free=None,
        label="",
    )


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 1 << 22), max_size=24), gap=st.integers(0, 1 << 20))
def test_boxes_stand_side_by_side(sizes: list[int], gap: int) -> None:
    boxes = drawing.boxes(disk(sizes, gap))
    assert len([box for box in boxes if box.kind != "unused"]) == len(sizes)
    at = 0.0
    for box in boxes:
        assert box.width > 0
        assert box.x >= at - 0.2
        at = box.x + box.width
    assert at <= WIDTH + 0.2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1e6), st.floats(0, 1e6)), max_size=9))
def test_the_time_line_stays_inside(found: list[tuple[str, float, float]]) -> None:
    phases = [Phase(name=name, begin=begin, seconds=seconds) for name, begin, seconds in found]
    for bar in drawing.bars(phases):
        assert 0 <= bar.x <= bar.x + bar.width <= WIDTH + 0.2
    assert [row.name for row in drawing.rows(phases)] == list(dict.fromkeys(name for name, _, _ in found))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "under 0.1 s"), (0.44, "0.4 s"), (12.4, "12 s"), (59.6, "1 min 0 s"), (605, "10 min 5 s")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (1 << 20, "1 MiB"), (3 << 29, "1.5 GiB"), (1 << 50, "1024 TiB")]
)
def test_sizes(size: int, text: str) -> None:
    assert human(size) == text
