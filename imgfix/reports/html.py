"""The report as one page: no script, nothing from elsewhere, and every text of the guest escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from imgfix.console import printable
from imgfix.rehearsal.model import RehearsalReport
from imgfix.reports import drawing, timeline
from imgfix.reports.model import Change, FileChange, Report

#: A diff with more lines than this is folded.
_FOLDED = 24

_PHASES: Mapping[str, str] = {
    "copy": "copy the disk",
    "launch": "start the appliance",
    "packages": "install packages",
    "inspect": "read the guest",
    "plan": "plan",
    "apply": "change the guest",
    "verify": "verify",
    "rehearse": "rehearse the first boot",
    "emit": "write the VHD",
    "digest": "digests",
}


def page(report: Report) -> str:
    """Return the HTML page of a report."""
    return _template("page.html.j2").render(
        report=report,
        phases=_PHASES,
        seconds=(report.ended - report.began).total_seconds(),
        opened=_is_opened,
        draw=drawing,
        timeline=timeline,
    )


def rehearsal_page(found: RehearsalReport) -> str:
    """Return the HTML page of a rehearsal."""
    return _template("rehearsal_page.html.j2").render(found=found, draw=timeline)


def _is_opened(file: FileChange) -> bool:
    return file.diff is not None and len(file.diff) <= _FOLDED and file.action != "removed"


def _shown(value: object) -> object:
    """Make control characters visible, also those that turn the direction of writing; jinja2 escapes the rest."""
    if not isinstance(value, str) or isinstance(value, Markup):  # a macro's, whose parts have been here
        return value
    return "\t".join(printable(part) for part in value.split("\t"))


def _kind(line: str) -> str:
    """Return the class of a line of a diff."""
    return {"+": "add", "-": "del", "@": "hunk", "\\": "meta"}.get(line[:1], "same")


def _together(changes: Sequence[Change]) -> list[list[Change]]:
    """Return the changes of a step, those of one verb and reason side by side."""
    groups: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        groups.setdefault((change.verb, change.why), []).append(change)
    return list(groups.values())


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=PackageLoader("imgfix.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters["kind"] = _kind
    environment.filters["together"] = _together
    environment.filters["human"] = drawing.human
    environment.filters["duration"] = drawing.duration
    return environment.get_template(name)
