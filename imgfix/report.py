"""What an apply did, for people: grouped by step, with the reasons."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from imgfix.change import (
    Advice,
    AppendFile,
    Copy,
    Decision,
    InstallPackages,
    Link,
    Noop,
    Rebuild,
    Remove,
    RemovePackages,
    RemoveSwapDevice,
    RunCommand,
    SetAttributes,
    WriteFile,
)
from imgfix.console import safe
from imgfix.disk.size import describe as describe_size
from imgfix.pipeline import Report
from imgfix.plan import Plan

#: More decisions of one step than this, alike in kind and reason, are told as a number.
_MANY = 3


def summary(report: Report, seconds: dict[str, float]) -> RenderableType:
    """Return the terminal summary of an apply; `seconds` by phase."""
    kernels = ", ".join(k.release for k in report.facts.kernels)
    head = Text.from_markup(
        f"[bold]{safe(report.facts.distro.pretty_name)}[/], kernels {safe(kernels)}, "
        f"profile {safe(report.profile.name)}\n"
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
    """Return the plan as a table: step, what and why. A step with nothing to do takes one line."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1))
    table.add_column("step", style="bold", no_wrap=True)
    table.add_column("verb", no_wrap=True)
    table.add_column("what", overflow="fold")
    for step in dict.fromkeys(item.step for item in plan.items):
        decisions = [item.decision for item in plan.items if item.step == step]
        for index, (verb, what) in enumerate(_rows(decisions)):
            table.add_row(step if index == 0 else "", verb, what)
    return table


def _rows(decisions: list[Decision]) -> list[tuple[str, str]]:
    noops = [d.reason for d in decisions if isinstance(d, Noop)]
    told = [_row(d) for d in decisions if not isinstance(d, Noop)]
    if not told:
        return [
            ("[green]fine[/]", f"[dim]{safe(noops[0]) if len(noops) == 1 else f'{len(noops)} checks'}[/]")
        ]
    rows: list[tuple[str, str]] = []
    groups: dict[tuple[str, str], list[str]] = {}
    for verb, what, why in told:
        groups.setdefault((verb, why), []).append(what)
    for (verb, why), things in groups.items():
        # Each piece of advice is a sentence of its own, without a reason: none of them is a number.
        names = things if len(things) <= _MANY or not why else [f"{len(things)} files and folders"]
        rows += [(verb, f"{name} [dim]{'- ' if name and why else ''}{why}[/]") for name in names]
    return rows


def _row(decision: Decision) -> tuple[str, str, str]:
    """Return verb, object and reason of a decision, as rich markup."""
    match decision:
        case WriteFile(path, content, reason):
            return ("[cyan]write[/]" if content else "[red]empty[/]", safe(path), safe(reason))
        case Remove(path, reason):
            return ("[red]remove[/]", safe(path), safe(reason))
        case Link(path, _, reason):
            return ("[cyan]link[/]", safe(path), safe(reason))
        case Copy(_, path, reason):
            return ("[cyan]copy[/]", safe(path), safe(reason))
        case AppendFile(path, _, reason):
            # as that of a rebuild, the reason begins with the file
            return ("[magenta]append[/]", safe(path), safe(reason.removeprefix(path).lstrip(": ")))
        case SetAttributes(path, mode, uid, gid, reason):
            return ("[cyan]set[/]", safe(f"{path} {mode:04o} {uid}:{gid}"), safe(reason))
        case RunCommand(name, argv, reason):
            return ("[magenta]run[/]", safe(" ".join(argv)), safe(reason or name))
        case RemoveSwapDevice(device, _, _, reason):
            return ("[red]delete[/]", safe(device), safe(reason))
        case InstallPackages(_, packages, reason):
            return ("[cyan]install[/]", safe(", ".join(packages)), safe(reason))
        case RemovePackages(_, packages, reason):
            return ("[red]remove[/]", safe(", ".join(packages)), safe(reason))
        case Rebuild(_, target, _, reason):
            # the reason of a rebuild begins with the file that it makes
            return ("[magenta]rebuild[/]", safe(target), safe(reason.removeprefix(target).lstrip(": ")))
        case Noop(reason) | Advice(reason):
            return ("[yellow]note[/]", safe(reason), "")


def show(console: Console, report: Report, seconds: dict[str, float]) -> None:
    """Print the summary."""
    console.print(summary(report, seconds))
