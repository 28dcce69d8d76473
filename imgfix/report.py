"""What an apply did, for people: grouped by step, with the reasons."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from imgfix.change import (
    Advice,
    Copy,
    Decision,
    InstallPackages,
    Link,
    Noop,
    Rebuild,
    Remove,
    RemoveSwapDevice,
    WriteFile,
)
from imgfix.console import safe
from imgfix.disk.size import describe as describe_size
from imgfix.pipeline import Report
from imgfix.plan import Plan

#: More removals of one step than this are told as a number.
_MANY = 4


def summary(report: Report, seconds: dict[str, float]) -> RenderableType:
    """Return the terminal summary of an apply; `seconds` by phase."""
    kernels = ", ".join(k.release for k in report.facts.kernels)
    head = Text.from_markup(
        f"[bold]{safe(report.facts.distro.pretty_name)}[/], kernels {safe(kernels)}\n"
        f"[bold green]ready:[/] {safe(str(report.request.target))}, {describe_size(report.size)}, fixed VHD"
    )
    phases = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items() if value >= 0.5)
    tail = Text(
        f"{report.launches} appliance launch{'es' if report.launches > 1 else ''}; {phases}", style="dim"
    )
    return Group(
        plan_table(report.plan), *(Text(f"warning: {w}", style="yellow") for w in report.warnings), head, tail
    )


def plan_table(plan: Plan) -> RenderableType:
    """Return the plan as a table: step, what, why. Steps with nothing to do take one line."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1))
    table.add_column("step", style="bold", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_column("why", style="dim", overflow="fold")
    for step in dict.fromkeys(item.step for item in plan.items):
        decisions = [item.decision for item in plan.items if item.step == step]
        rows = list(_rows(decisions))
        for index, (what, why) in enumerate(rows):
            table.add_row(step if index == 0 else "", what, why)
    return table


def _rows(decisions: list[Decision]) -> list[tuple[str, str]]:
    changes = [d for d in decisions if not isinstance(d, Noop | Advice)]
    removals = [d for d in changes if isinstance(d, Remove)]
    rows = [_row(d) for d in changes if not (isinstance(d, Remove) and len(removals) > _MANY)]
    if len(removals) > _MANY:
        reasons = "; ".join(dict.fromkeys(d.reason for d in removals))
        rows.append((f"[red]remove[/] {len(removals)} files and folders", safe(reasons)))
    rows += [(f"[yellow]note[/] {safe(d.text)}", "") for d in decisions if isinstance(d, Advice)]
    if not rows:
        noops = [d.reason for d in decisions if isinstance(d, Noop)]
        rows.append(
            ("[green]nothing to do[/]", safe(noops[0]) if len(noops) == 1 else f"{len(noops)} checks")
        )
    return rows


def _row(decision: Decision) -> tuple[str, str]:
    match decision:
        case WriteFile(path, _, reason):
            return f"[cyan]write[/] {safe(path)}", safe(reason)
        case Remove(path, reason):
            return f"[red]remove[/] {safe(path)}", safe(reason)
        case Link(path, target, reason):
            return f"[cyan]link[/] {safe(path)}", safe(reason)
        case Copy(source, path, reason):
            return f"[cyan]copy[/] {safe(source)} to {safe(path)}", safe(reason)
        case RemoveSwapDevice(device, _, _, reason):
            return f"[red]delete[/] {safe(device)}", safe(reason)
        case InstallPackages(_, packages, reason):
            return f"[cyan]install[/] {safe(', '.join(packages))}", safe(reason)
        case Rebuild(kind, target, _, reason):
            return f"[magenta]rebuild[/] {kind.value} {safe(target)}", safe(reason)
        case Noop(reason) | Advice(reason):
            return "", safe(reason)


def show(console: Console, report: Report, seconds: dict[str, float]) -> None:
    """Print the summary."""
    console.print(summary(report, seconds))
