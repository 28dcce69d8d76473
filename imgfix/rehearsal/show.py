"""A rehearsal's outcome for people: the time line, the answers, and the verdict with its cause."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from imgfix.console import safe
from imgfix.rehearsal.events import Stage
from imgfix.rehearsal.rehearse import Attempt, Result

_SIGNS = {True: "[green]yes[/]", False: "[red]no[/]", None: "[yellow]note[/]"}
#: Lines of the serial log that are shown of a boot that failed.
_TAIL = 15


def show(console: Console, result: Result) -> None:
    """Print it."""
    console.print(summary(result))


def summary(result: Result) -> RenderableType:
    """Return the terminal's picture of a rehearsal."""
    attempt = result.attempt
    parts: list[RenderableType] = [_time_line(attempt)]
    if attempt.answers:
        parts.append(_answers(attempt))
    tried = ", ".join(a.controller for a in result.attempts)
    accelerator = "KVM" if result.verdict.accelerator.value == "kvm" else "emulated, no KVM"
    where = f"Generation {result.generation}, {tried}, {accelerator}"
    name = safe(str(result.request.name))
    if attempt.cause is not None:
        parts += _failure(attempt)
        parts.append(Text.from_markup(f"[bold red]failed at {attempt.cause.stage.words}:[/] {name}, {where}"))
    elif not result.passed:
        wrong = ", ".join(answer.name for answer in attempt.answers if answer.ok is False)
        parts.append(
            Text.from_markup(f"[bold red]came to SSH, not ready ({safe(wrong)}):[/] {name}, {where}")
        )
    else:
        parts.append(Text.from_markup(f"[bold green]rehearsed:[/] {name}, {where}"))
    return Group(*parts)


def _time_line(attempt: Attempt) -> RenderableType:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1))
    for boot in sorted({event.boot for event in attempt.events}):
        firsts = {e.stage: e for e in reversed(attempt.events) if e.stage is not None and e.boot == boot}
        highest = Stage.FIRMWARE
        for stage, first in sorted(firsts.items(), key=lambda item: item[1].at):
            if stage < highest:
                continue  # the other agent's, and no news
            highest = stage
            label = stage.words if boot == 1 else f"second boot: {stage.words}"
            table.add_row(f"{first.at:6.1f} s", f"[bold]{label}[/]", f"[dim]{safe(first.text)}[/]")
    return table


def _answers(attempt: Attempt) -> RenderableType:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for answer in attempt.answers:
        remedy = f" [cyan]({safe(answer.remedy)})[/]" if answer.remedy else ""
        table.add_row(_SIGNS[answer.ok], safe(answer.name), safe(answer.detail) + remedy)
    return table


def _failure(attempt: Attempt) -> list[RenderableType]:
    cause = attempt.cause
    assert cause is not None
    lines = [line for line in attempt.console.splitlines() if line.strip()][-_TAIL:]
    parts: list[RenderableType] = [Text("the end of the serial log:", style="dim")] if lines else []
    parts += [Text.from_markup(f"[dim]  | {safe(line[:200])}[/]") for line in lines]
    reached = attempt.reached.words if attempt.reached is not None else "nothing"
    parts.append(Text.from_markup(f"reached [bold]{reached}[/]; likely cause: {safe(cause.text)}"))
    if cause.line:
        parts.append(Text.from_markup(f"seen: [dim]{safe(cause.line)}[/]"))
    parts.append(Text.from_markup(f"[cyan]remedy:[/] {safe(cause.remedy)}"))
    if cause.key:
        parts.append(Text.from_markup(f"[cyan]profile:[/] {safe(cause.key)}"))
    return parts
