"""The live table of a batch: what runs, what has ended, and how much there is still to do."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from imgfix.batch.events import Event, Kind
from imgfix.batch.result import Failure, Result, State
from imgfix.console import safe

#: Lines of the terminal that are not for images: the heading, the bar, a note of what is not shown.
_FRAME = 6

#: Widths of the columns "state" and "time", and of the spaces between all four.
_STATE, _TIME, _GAPS = 11, 6, 7

_WORDS = {
    State.DONE: "[green]done[/]",
    State.FAILED: "[bold red]failed[/]",
    State.INTERRUPTED: "[yellow]interrupted[/]",
    State.RUNNING: "[cyan]running[/]",
}


@dataclass(slots=True)
class _Row:
    state: str = "[dim]queued[/]"
    note: str = ""
    began: float | None = None
    seconds: float = 0.0
    attempts: int = 0
    ended: bool = False
    rank: int = 0


class LiveTable:
    """A listener that keeps one table on the terminal up to date; use it as a context manager."""

    def __init__(self, console: Console, names: list[str]) -> None:
        self._console = console
        self._rows = {name: _Row() for name in names}
        self._counts: Counter[str] = Counter()
        self._clock = 0
        self._live = Live(console=console, get_renderable=self._draw, refresh_per_second=4, transient=True)

    def __enter__(self) -> LiveTable:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Take note of `event`."""
        row = self._rows[event.image.name]
        self._clock += 1
        row.rank = self._clock
        if event.result is not None:
            self._end(row, event.result, skipped=event.kind is Kind.SKIPPED)
            return
        row.note = safe(event.text)
        if event.kind is Kind.BEGIN:
            row.began = row.began or time.monotonic()
            row.attempts += 1
            row.note = f"attempt {row.attempts}" if row.attempts > 1 else ""
        row.state = {Kind.WAITING: "[dim]waiting[/]", Kind.RETRY: "[yellow]again[/]"}.get(
            event.kind, "[cyan]running[/]"
        )

    def _end(self, row: _Row, result: Result, *, skipped: bool) -> None:
        row.ended = True
        row.seconds = result.seconds
        row.state = _WORDS[result.state]
        row.note = "as an earlier run left it" if skipped and result.state is State.DONE else note(result)
        self._counts[result.state.value] += 1

    def _draw(self) -> RenderableType:
        # Columns of fixed widths: a long verdict would squeeze the others, and the table would jump about.
        width = self._console.width
        longest = min(max(map(len, self._rows), default=0), width // 3)
        table = Table(box=None, pad_edge=False, padding=(0, 1))
        table.add_column("image", width=longest, overflow="ellipsis", no_wrap=True, style="bold")
        table.add_column("state", width=_STATE, no_wrap=True)
        table.add_column("time", width=_TIME, justify="right", no_wrap=True)
        rest = max(10, width - longest - _STATE - _TIME - _GAPS)
        table.add_column("", width=rest, overflow="ellipsis", no_wrap=True)
        shown = self._shown()
        for name in shown:
            row = self._rows[name]
            table.add_row(safe(name), row.state, _clock(row), row.note)
        hidden = len(self._rows) - len(shown)
        more = [Text(f"and {hidden} more", style="dim")] if hidden else []
        return Group(table, *more, self._bar())

    def _shown(self) -> list[str]:
        """All images if they fit, else those that run, then what ended last, then what comes next."""
        room = max(3, self._console.height - _FRAME)
        if len(self._rows) <= room:
            return list(self._rows)
        order = sorted(
            self._rows, key=lambda n: (self._rows[n].ended, not self._rows[n].rank, -self._rows[n].rank)
        )
        kept = set(order[:room])
        return [name for name in self._rows if name in kept]

    def _bar(self) -> RenderableType:
        ended, total = sum(self._counts.values()), len(self._rows)
        grid = Table.grid(padding=(0, 1))
        told = ", ".join(f"{count} {state}" for state, count in self._counts.items())
        grid.add_row(ProgressBar(total=total, completed=ended, width=24), f"{ended} of {total}:", told)
        return grid


def _clock(row: _Row) -> str:
    if row.ended:
        seconds = row.seconds
    elif row.began is not None:
        seconds = time.monotonic() - row.began
    else:
        return ""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def note(result: Result) -> str:
    """Return the verdict on one line, safe for rich; a failure that may go away is marked as such."""
    if result.state is State.DONE:
        tries = len(result.attempts)
        told = safe(result.verdict.removeprefix("ready: ").removeprefix("ready"))
        return f"[dim]at attempt {tries}:[/] {told}" if tries > 1 else told
    kind = "[yellow]transient[/] " if result.failure is Failure.TRANSIENT else ""
    return kind + safe(" ".join(result.verdict.split()))


def final_table(results: tuple[Result, ...]) -> RenderableType:
    """Return the whole table of the results, with the verdicts and hints in full."""
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("image", overflow="fold", style="bold")
    table.add_column("state", min_width=_STATE, no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True, min_width=_TIME)
    table.add_column("", overflow="fold")
    for result in results:
        told = note(result) + (f"\n[cyan]hint:[/] {safe(result.hint)}" if result.hint else "")
        row = _Row(ended=True, seconds=result.seconds)
        table.add_row(safe(result.name), _WORDS[result.state], _clock(row), told)
    return table
