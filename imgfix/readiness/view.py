"""The verdict on the terminal: a line a requirement, what apply does under it, the reasons, and the sum at the end."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from imgfix.console import safe
from imgfix.disk.size import describe
from imgfix.readiness.model import Action, Evidence, Finding, Readiness, Requirement, Status

#: Mark, colour of each status.
_MARKS = {
    Status.READY: ("ok", "green"),
    Status.ADVICE: ("note", "yellow"),
    Status.FIXED: ("fix", "cyan"),
    Status.BLOCKER: ("no", "bold red"),
}

#: More findings of one requirement than this, alike in action and reason, are told as a number.
_MANY = 6


def show(console: Console, readiness: Readiness, *, verbose: bool = False) -> None:
    """Print the verdict; `verbose` leaves nothing out."""
    guest, disk = readiness.guest, readiness.disk
    console.print(
        f"[bold]{safe(guest.name)}[/], kernels {safe(', '.join(guest.kernels)) or 'none'}, "
        f"profile {safe(readiness.profile)} ({readiness.mode})",
        highlight=False,
    )
    console.print(f"{safe(disk.path)}: {disk.format}, {describe(disk.size)}", highlight=False)
    for verdict in readiness.generations:
        word = "[green]boots[/]" if verdict.boots else "[yellow]does not boot[/]"
        reasons = safe("; ".join(verdict.reasons))
        console.print(f"Generation {verdict.generation}: {word} as it is: {reasons}", highlight=False)
    console.print(_table(readiness, verbose=verbose))
    for line in _sum(readiness):
        console.print(line, highlight=False, soft_wrap=True)


def _table(readiness: Readiness, *, verbose: bool) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1))
    table.add_column("mark", justify="right", no_wrap=True)
    table.add_column("requirement", no_wrap=True, style="bold")
    table.add_column("what", overflow="fold")
    for requirement in readiness.requirements:
        mark, style = _MARKS[requirement.status]
        lines = list(_lines(requirement, verbose=verbose))
        first = f"{safe(requirement.title)}"
        if requirement.status is Status.READY and len(lines) == 1:
            first += f" [dim]- {lines[0]}[/]"
            lines = []
        table.add_row(f"[{style}]{mark}[/]", requirement.id, first)
        for line in lines:
            table.add_row("", "", Padding(line, (0, 0, 0, 2)))
    return table


def _lines(requirement: Requirement, *, verbose: bool) -> Iterator[str]:
    """What is told below a requirement, as rich markup."""
    if verbose:
        yield from (_seen(one) for one in requirement.evidence)
        for finding in requirement.findings:
            yield _told(finding)
            yield from (f"  {_seen(one)}" for one in finding.evidence)
        return
    if requirement.status is Status.READY:
        texts = [finding.text for finding in requirement.findings]
        yield safe(texts[0]) if len(texts) == 1 else f"{len(texts)} checks"
        return
    groups: dict[tuple[Status, str, str], list[Finding]] = {}
    for finding in requirement.findings:
        if finding.status is not Status.READY:
            key = finding.action.value if finding.action is not None else ""
            # Each sentence of advice is one of its own; acts with the same reason are told together.
            groups.setdefault((finding.status, key, finding.text), []).append(finding)
    for (_, _, text), alike in groups.items():
        if len(alike) > _MANY:
            noun = "files and folders" if alike[0].action is Action.REMOVE else "files"
            yield f"{_verb(alike[0])} {len(alike)} {noun} [dim]- {safe(text)}[/]"
        else:
            yield from (_told(finding) for finding in alike)


def _told(finding: Finding) -> str:
    if finding.action is None:
        _, style = _MARKS[finding.status]
        hint = f" [cyan]-> {safe(finding.hint)}[/]" if finding.hint else ""
        return f"[{style}]{safe(finding.text)}[/]{hint}"
    line = next(
        (f":{e.line}" for e in finding.evidence if e.line is not None and e.name == finding.target), ""
    )
    return f"{_verb(finding)} {safe(finding.target)}{line} [dim]- {safe(finding.text)}[/]"


def _verb(finding: Finding) -> str:
    return f"[cyan]{finding.action.value if finding.action is not None else ''}[/]"


def _seen(one: Evidence) -> str:
    line = f":{one.line}" if one.line is not None else ""
    detail = f" [dim]{safe(one.detail)}[/]" if one.detail else ""
    return f"{one.kind.value} {safe(one.name)}{line}{detail}"


def _sum(readiness: Readiness) -> Iterator[str]:
    counts = {status: len(readiness.of_status(status)) for status in Status}
    told = f"{counts[Status.READY]} ready, {counts[Status.ADVICE]} with advice"
    if readiness.ready:
        yield f"[bold green]ready for Azure[/]: {told}"
        return
    fixed = f"{counts[Status.FIXED]} fixed by apply"
    if readiness.fixable:
        yield f"[bold yellow]not ready for Azure, and apply makes it so[/]: {fixed}, {told}"
        return
    names = ", ".join(r.id for r in readiness.of_status(Status.BLOCKER))
    yield f"[bold red]not ready for Azure, and apply cannot make it so[/]: {names} in the way, {fixed}, {told}"
