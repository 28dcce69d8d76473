"""Where the boxes of a report's drawings stand. Pure geometry; the page's template draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imgfix.reports.model import Disk, Phase, Piece

#: Width of every drawing, in the drawing's own units.
WIDTH = 1000.0
#: A box is at least this wide, so that it can be seen and named.
_LEAST = 92.0
#: An unused stretch of the disk smaller than this part of it is not drawn.
_SLIGHT = 0.004

#: Part of the width that a label of the time line takes.
_LABEL = 0.1

#: What a box is coloured by: the begin of its content.
_KINDS = (
    ("esp", "esp"),
    ("bios", "bios"),
    ("swap", "swap"),
    ("LVM", "volume"),
    ("RAID", "volume"),
    ("crypto", "volume"),
    ("extended", "extended"),
)


@dataclass(frozen=True, slots=True)
class Box:
    """One box of a disk: `x` and `width` in the drawing's units, `kind` names its colour."""

    x: float
    width: float
    title: str
    subtitle: str
    kind: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One stretch of the time line, in row `row`."""

    x: float
    width: float
    row: int


@dataclass(frozen=True, slots=True)
class Row:
    """A phase of the time line: `label` tells how long it took in all, at `x`, to the left of it if `before`."""

    name: str
    label: str
    x: float
    before: bool


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Bytes of a disk, used by a piece or, with None, by nothing."""

    piece: Piece | None
    size: int


def boxes(disk: Disk) -> tuple[Box, ...]:
    """Return the partitions of a disk in their order, and what lies unused between and behind them."""
    return _laid([_box(stretch) for stretch in _stretches(disk)], [s.size for s in _stretches(disk)])


def volumes(disk: Disk) -> tuple[Box, ...]:
    """Return the volumes that lie inside partitions; none where there are none."""
    found = [piece for piece in disk.pieces if piece.start is None]
    return _laid([_named(piece) for piece in found], [piece.size for piece in found])


def _stretches(disk: Disk) -> list[_Stretch]:
    found: list[_Stretch] = []
    at = 0
    for piece in disk.pieces:
        # An extended partition is drawn as what is in it.
        if piece.start is None or piece.content == "extended":
            continue
        if piece.start - at > disk.size * _SLIGHT:
            found.append(_Stretch(None, piece.start - at))
        found.append(_Stretch(piece, piece.size))
        at = max(at, piece.start + piece.size)
    if disk.size - at > disk.size * _SLIGHT:
        found.append(_Stretch(None, disk.size - at))
    return found


def _box(stretch: _Stretch) -> tuple[str, str, str]:
    if stretch.piece is None:
        return "unused", human(stretch.size), "unused"
    return _named(stretch.piece)


def _named(piece: Piece) -> tuple[str, str, str]:
    kind = next((kind for begin, kind in _KINDS if piece.content.startswith(begin)), "data")
    title = piece.mountpoint or piece.content or f"partition {piece.number}"
    content = piece.content.partition(" ")[0]
    what = f"{content} " if piece.mountpoint and content else ""
    return title, f"{what}{human(piece.size)}", kind


def _laid(texts: Sequence[tuple[str, str, str]], sizes: Sequence[int]) -> tuple[Box, ...]:
    """Give each its least width, and share what is left by size."""
    total = sum(sizes) or 1
    free = max(0.0, WIDTH - _LEAST * len(sizes))
    least = min(_LEAST, WIDTH / max(1, len(sizes)))
    placed: list[Box] = []
    x = 0.0
    for (title, subtitle, kind), size in zip(texts, sizes, strict=True):
        width = least + free * size / total
        placed.append(Box(round(x, 1), round(width, 1), title, subtitle, kind))
        x += width
    return tuple(placed)


def bars(phases: Sequence[Phase]) -> tuple[Bar, ...]:
    """Return the stretches of the time line: a row a phase, in the order in which each first came."""
    total = _end(phases) or 1.0
    numbers = {name: number for number, name in enumerate(dict.fromkeys(phase.name for phase in phases))}
    placed = []
    for phase in phases:
        width = max(3.0, WIDTH * phase.seconds / total)
        x = min(WIDTH * phase.begin / total, WIDTH - width)
        placed.append(Bar(round(x, 1), round(width, 1), numbers[phase.name]))
    return tuple(placed)


def rows(phases: Sequence[Phase]) -> tuple[Row, ...]:
    """Return the rows of the time line, each with its label beside its bars, where there is room."""
    placed = bars(phases)
    found = []
    for number, name in enumerate(dict.fromkeys(phase.name for phase in phases)):
        own = [bar for bar in placed if bar.row == number]
        end = own[-1].x + own[-1].width
        before = end > WIDTH * (1 - _LABEL)
        label = duration(sum(phase.seconds for phase in phases if phase.name == name))
        found.append(Row(name, label, own[0].x if before else end, before))
    return tuple(found)


def _end(phases: Sequence[Phase]) -> float:
    return max((phase.begin + phase.seconds for phase in phases), default=0.0)


def duration(seconds: float) -> str:
    """Return seconds as people say them: under 0.1 s, 0.4 s, 12 s, 3 min 20 s."""
    if seconds < 0.1:
        return "under 0.1 s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


def human(size: int) -> str:
    """Return bytes in the largest unit that leaves a number of 1 or more: 4 GiB, 256 MiB, 1.5 GiB."""
    value, unit = float(size), "bytes"
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"
