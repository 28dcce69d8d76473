"""imgfix doctor on the terminal: a line a question, the remedy under each "no"."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from imgfix.console import printable
from imgfix.doctor import Finding, diagnose, is_able

_MARKS = {True: ("ok", "green"), False: ("no", "bold red"), None: ("note", "yellow")}


def show(*, launch: bool) -> bool:
    """Print the findings on stdout; return whether imgfix can work here."""
    console = Console()
    findings = diagnose(launch)
    for finding in findings:
        console.print(_line(finding), soft_wrap=True)
    able = is_able(findings)
    console.print(
        "imgfix can work here" if able else "[bold red]imgfix cannot work here[/] until each no is mended"
    )
    return able


def _line(finding: Finding) -> Text:
    mark, style = _MARKS[finding.ok]
    line = Text(f"{mark:>5}  ", style=style)
    line.append(f"{finding.name:<14}", style="bold")
    line.append(f" {printable(finding.detail)}", style="default")
    if finding.remedy:
        line.append(f"\n{'':>21} -> {printable(finding.remedy)}", style="cyan")
    return line
