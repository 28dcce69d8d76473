"""Where the time of an apply went: its phases and the guest's commands, as a table of seconds."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table

from imgfix.console import safe
from imgfix.progress import Ran, Span

#: Characters of a command that are shown.
_WIDTH = 60


def table(spans: Sequence[Span], commands: Sequence[Ran]) -> RenderableType:
    """Return a row for each stretch of a phase, and below it one for each command of the guest that it ran."""
    rows = [(span.begin, -span.seconds, span.seconds, safe(span.name)) for span in spans]
    rows += [(c.begin, 0.0, c.seconds, f"  [dim]{safe(_words(c))}[/]") for c in commands]
    shown = Table(box=None, pad_edge=False, padding=(0, 1))
    shown.add_column("begin", justify="right")
    shown.add_column("seconds", justify="right")
    shown.add_column("what", no_wrap=True)
    for begin, _, seconds, what in sorted(rows):
        shown.add_row(f"{begin:.1f}", f"{seconds:.1f}", what)
    end = max((span.begin + span.seconds for span in spans), default=0.0)
    shown.add_row("", f"[bold]{end:.1f}[/]", "[bold]in all[/]")
    return shown


def _words(command: Ran) -> str:
    line = " ".join(command.argv)
    failed = f" (status {command.status})" if command.status else ""
    return (line if len(line) <= _WIDTH else f"{line[: _WIDTH - 3]}...") + failed
