"""The summary page: every image with its verdict, as one HTML file that needs nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from imgfix import __version__
from imgfix.batch.result import Result, State, write_text
from imgfix.console import printable

#: The page's name in the folder of results.
PAGE = "summary.html"


@dataclass(frozen=True, slots=True)
class _Line:
    """One image as the page shows it; all texts are plain, the template escapes them."""

    index: int
    name: str
    source: str
    profile: str
    state: str
    verdict: str
    hint: str
    failure: str
    code: str
    attempts: int
    time: str
    size: str
    log: str
    report: str


def page(folder: Path, origin: str, results: tuple[Result, ...], images: int) -> str:
    """Return the page for a batch of `images` images named `origin`; `folder` has what it links to."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = resources.files("imgfix.batch").joinpath("summary.html.jinja").read_text(encoding="utf-8")
    counts = {state.value: sum(r.state is state for r in results) for state in State}
    return environment.from_string(text).render(
        origin=printable(origin),
        lines=[_line(result, folder) for result in results],
        images=images,
        counts=counts,
        missing=images - len(results),
        made=f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        version=__version__,
    )


def write(folder: Path, origin: str, results: tuple[Result, ...], images: int) -> Path:
    """Write the page into `folder` and return its path. Raises HostError."""
    path = folder / PAGE
    write_text(path, page(folder, origin, results, images))
    return path


def _line(result: Result, folder: Path) -> _Line:
    seconds = int(result.seconds)
    report = f"{result.name}.report.html"
    return _Line(
        index=result.index,
        name=printable(result.name),
        source=printable(result.source),
        profile=printable(_profile(result.profile)),
        state=result.state.value,
        verdict=printable(result.verdict),
        hint=printable(result.hint or ""),
        failure=result.failure.value if result.failure else "",
        code="" if result.exit_code is None else str(result.exit_code),
        attempts=len(result.attempts),
        time=f"{seconds // 60}:{seconds % 60:02d}" if result.attempts else "",
        size=f"{result.made.size >> 20} MiB" if result.made else "",
        log=f"{result.name}.log",
        report=report if (folder / report).exists() else "",
    )


def _profile(profile: str) -> str:
    return re.sub(r"\.yaml$", "", Path(profile).name)
