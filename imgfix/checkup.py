"""imgfix doctor on the terminal: a line a question, the remedy under each "no"; or as JSON.

`imgfix schema doctor` prints the schema of the JSON. The version changes whenever a field changes its meaning, or goes.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from rich.table import Table
from rich.text import Text

from imgfix import __version__
from imgfix.console import printable, standard_output
from imgfix.doctor import Finding, diagnose, is_able
from imgfix.reports.part import Part

_MARKS = {True: ("ok", "green"), False: ("no", "bold red"), None: ("note", "yellow")}


VERSION: Literal[1] = 1


class Answer(Part):
    """One question to the host and its answer."""

    name: str
    ok: bool | None = Field(
        description="false: imgfix cannot work so; null: it can, and this is worth knowing"
    )
    detail: str
    remedy: str = Field(description="what to do; empty where all is well")


class Checkup(Part):
    """What --json prints."""

    format: Literal["imgfix-doctor"] = "imgfix-doctor"
    version: Literal[1] = VERSION
    imgfix: str = Field(description="the version of imgfix")
    able: bool = Field(description="imgfix can work on this host")
    answers: tuple[Answer, ...]


def checkup(findings: tuple[Finding, ...]) -> Checkup:
    """Return the published form of what the doctor found."""
    answers = (
        Answer(name=f.name, ok=f.ok, detail=printable(f.detail), remedy=printable(f.remedy)) for f in findings
    )
    return Checkup(imgfix=__version__, able=is_able(findings), answers=tuple(answers))


def show(*, launch: bool, as_json: bool = False) -> bool:
    """Print the findings on stdout; return whether imgfix can work here."""
    console = standard_output()
    findings = diagnose(launch)
    if as_json:
        print(checkup(findings).model_dump_json(indent=2))
        return is_able(findings)
    console.print(_table(findings))
    able = is_able(findings)
    console.print(
        "imgfix can work here" if able else "[bold red]imgfix cannot work here[/] until each no is mended"
    )
    return able


def _table(findings: tuple[Finding, ...]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1))
    table.add_column("mark", justify="right", no_wrap=True)
    table.add_column("question", no_wrap=True, style="bold")
    table.add_column("answer", overflow="fold")
    for finding in findings:
        mark, style = _MARKS[finding.ok]
        table.add_row(Text(mark, style), finding.name, Text(printable(finding.detail)))
        if finding.remedy:
            table.add_row("", "", Text(f"-> {printable(finding.remedy)}", "cyan"))
    return table
