"""What an apply did, for people: grouped by step, with the reasons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from imgfix.change import Advice, Decision, Noop
from imgfix.console import safe
from imgfix.disk.size import describe as describe_size
from imgfix.pipeline import Report
from imgfix.plan import Plan
from imgfix.wording import told

#: More decisions of one step than this, alike in kind and reason, are told as a number.
_MANY = 6

#: How each verb looks; red takes away, magenta runs the guest's own programs.
_STYLES = {
    **dict.fromkeys(("write", "link", "copy", "set", "install"), "cyan"),
    **dict.fromkeys(("remove", "empty", "delete"), "red"),
    **dict.fromkeys(("append", "rebuild", "run"), "magenta"),
}


#: Verbs whose objects are files and no folders.
_ON_FILES = frozenset({"write", "empty", "link", "copy", "append"})


def summary(report: Report, seconds: dict[str, float], written: Sequence[Path] = ()) -> RenderableType:
    """Return the terminal summary of an apply; `seconds` by phase, `written` the reports."""
    kernels = ", ".join(k.release for k in report.facts.kernels)
    head = Text.from_markup(
        f"[bold]{safe(report.facts.distro.pretty_name)}[/], kernels {safe(kernels)}, "
        f"profile {safe(report.profile.name)}\n"
        f"[bold green]ready:[/] {safe(str(report.request.target))}, {describe_size(report.size)}, fixed VHD"
        + "".join(f"\n[bold]report:[/] {safe(str(path))}" for path in written)
    )
    phases = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items() if value >= 0.5)
    tail = Text(
        f"{sum(seconds.values()):.0f} s, {report.launches} appliance launch{'es' if report.launches > 1 else ''}: "
        f"{phases}",
        style="dim",
    )
    return Group(
        "",
        plan_table(report.plan),
        "",
        *(Text(f"warning: {w}", style="yellow") for w in report.warnings),
        head,
        tail,
    )


def plan_table(plan: Plan) -> RenderableType:
    """Return the plan: what changes as a table of step, what and why; then what was right, then the advice."""
    table = _table()
    for step in _steps(plan):
        changes = [
            i.decision for i in plan.items if i.step == step and not isinstance(i.decision, Noop | Advice)
        ]
        for index, (verb, what) in enumerate(_rows(changes)):
            table.add_row(step if index == 0 else "", verb, what)
    _add_right(table, plan)
    _add_advice(table, plan)
    return table


def _steps(plan: Plan) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item.step for item in plan.items))


def _table() -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1))
    table.add_column("step", style="bold", no_wrap=True)
    table.add_column("verb", no_wrap=True)
    table.add_column("what", overflow="fold")
    return table


def _add_right(table: Table, plan: Plan) -> None:
    """One row: the steps that found nothing to do and to say. The reports have the reason of each."""
    busy = {item.step for item in (*plan.changes, *plan.advice)}
    names = [name for name in _steps(plan) if name not in busy]
    if names:
        table.add_row("", "[green]fine[/]", f"[dim]{', '.join(names)}: nothing to do[/]")


def _add_advice(table: Table, plan: Plan) -> None:
    """A row a piece, behind all that changed: there it is read."""
    for step in dict.fromkeys(item.step for item in plan.advice):
        for index, item in enumerate(i for i in plan.advice if i.step == step):
            table.add_row(step if not index else "", "[yellow]note[/]", safe(told(item.decision).why))


def _rows(changes: Sequence[Decision]) -> list[tuple[str, str]]:
    """Return verb and text of each change, as rich markup; many of a kind are told as a number."""
    groups: dict[tuple[str, str], list[str]] = {}
    for words in map(told, changes):
        groups.setdefault((words.verb, words.why), []).append(words.what)
    rows: list[tuple[str, str]] = []
    for (verb, why), things in groups.items():
        names = (
            things
            if len(things) <= _MANY
            else [f"{len(things)} {'files' if verb in _ON_FILES else 'files and folders'}"]
        )
        reason = f" [dim]- {safe(why)}[/]" if why else ""
        rows += [(f"[{_STYLES[verb]}]{verb}[/]", f"{safe(name)}{reason}") for name in names]
    return rows


def show(console: Console, report: Report, seconds: dict[str, float], written: Sequence[Path] = ()) -> None:
    """Print the summary; `written` are its reports."""
    console.print(summary(report, seconds, written))
