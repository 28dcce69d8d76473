"""The time line of a rehearsal: a row for each thing that came, its bar from the one before. Pure geometry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imgfix.rehearsal.console import proofs
from imgfix.rehearsal.diagnosis import marked_lines
from imgfix.rehearsal.events import Stage
from imgfix.rehearsal.model import Moment, Try
from imgfix.reports.drawing import WIDTH

#: The stages in their order.
_ORDER = {stage.words: int(stage) for stage in Stage}
#: What is no stage and yet worth a row, and its name there.
_MARKS = {"login": "login prompt", "shutdown": "power button", "off": "off"}
#: A label stands to the left of its bar's end where it would run out of the picture.
_ROOM = 0.72
_TICKS = (5, 10, 15, 30, 60, 120, 300, 600)


@dataclass(frozen=True, slots=True)
class Row:
    """One row: `x` and `width` of its bar in the drawing's units; `line` is the serial log's line that shows it."""

    name: str
    text: str
    seconds: float
    x: float
    width: float
    kind: str
    line: int | None

    @property
    def end(self) -> float:
        """Where the bar ends."""
        return self.x + self.width

    @property
    def before(self) -> bool:
        """Tell whether the label has no room behind the bar."""
        return self.end > WIDTH * _ROOM


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the serial log; `kind` is `proof` or `symptom` for one that matters, `stage` what it proves."""

    number: int
    text: str
    kind: str = ""
    stage: str = ""


def boots(attempt: Try) -> tuple[int, ...]:
    """Return the numbers of the boots."""
    return tuple(sorted({moment.boot for moment in attempt.events}))


def rows(attempt: Try, boot: int) -> tuple[Row, ...]:
    """Return the rows of one boot in the order of time; the last of one that failed says where."""
    events = [moment for moment in attempt.events if moment.boot == boot]
    total = end(attempt, boot)
    log = attempt.serial_log if boot == 1 else attempt.second_serial_log
    lines = {stage.words: number for number, stage in proofs(log).items()}
    found = []
    begin = 0.0
    for moment, name in _shown(events):
        kind = "stage" if moment.stage else "mark"
        line = lines.get(name)
        found.append(_row(name, moment.text, begin, moment.at, total, kind, line))
        begin = moment.at
    if attempt.cause is not None and boot == boots(attempt)[-1]:
        stop = max((m.at for m in events if m.kind not in ("shutdown", "off")), default=total)
        kept = [row for row in found if row.name not in ("power button", "off")]
        last = kept[-1].seconds if kept else 0.0
        text = f"not reached: {attempt.cause.name}"
        return (*kept, _row(attempt.cause.stage, text, last, max(stop, last), total, "failed", None))
    return tuple(found)


def end(attempt: Try, boot: int) -> float:
    """Return the seconds that the boot's picture is wide."""
    return max((moment.at for moment in attempt.events if moment.boot == boot), default=1.0) or 1.0


def ticks(attempt: Try, boot: int) -> tuple[tuple[float, str], ...]:
    """Return where the seconds are marked, and how."""
    total = end(attempt, boot)
    step = next((tick for tick in _TICKS if total / tick <= 8), _TICKS[-1])
    return tuple((round(WIDTH * at / total, 1), f"{at} s") for at in range(0, int(total) + 1, step))


def lines(attempt: Try, boot: int) -> tuple[Line, ...]:
    """Return the serial log of a boot; symptoms count only where it failed, as every good boot shows some."""
    log = attempt.serial_log if boot == 1 else attempt.second_serial_log
    proven = proofs(log)
    symptoms = set(marked_lines(log)) if attempt.cause is not None else set()
    seen = attempt.cause.line if attempt.cause is not None else ""
    return tuple(
        Line(
            number,
            text,
            "symptom"
            if number in symptoms or (seen and seen in text)
            else "proof"
            if number in proven
            else "",
            proven[number].words if number in proven else "",
        )
        for number, text in enumerate(log.splitlines())
    )


def _shown(events: list[Moment]) -> Iterator[tuple[Moment, str]]:
    """Each stage and mark when it first came; a stage behind a later one is the other agent's, and no news."""
    seen = set()
    highest = -1
    for moment in sorted(events, key=lambda one: one.at):
        name = moment.stage or _MARKS.get(moment.kind)
        rank = _ORDER.get(moment.stage or "", highest)
        if name is not None and name not in seen and rank >= highest:
            seen.add(name)
            highest = rank
            yield moment, name


def _row(name: str, text: str, begin: float, at: float, total: float, kind: str, line: int | None) -> Row:
    x = WIDTH * begin / total
    width = max(3.0, WIDTH * (at - begin) / total)
    return Row(name, text, at, round(min(x, WIDTH - width), 1), round(width, 1), kind, line)
