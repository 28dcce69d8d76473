"""A rehearsal's outcome as a file: JSON for programs, HTML with the time line as a picture for people."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from imgfix.console import printable
from imgfix.errors import UsageError
from imgfix.rehearsal.diagnosis import marked_lines
from imgfix.rehearsal.events import Kind, Stage
from imgfix.rehearsal.rehearse import Attempt, Result
from imgfix.reports.model import Text

VERSION: Literal[1] = 1
_SUFFIXES = (".json", ".html")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Moment(_Model):
    """Something that happened; `at` is seconds from power-on."""

    at: float
    boot: int
    kind: str
    stage: str | None
    text: str


class Finding(_Model):
    """One answer; `ok` null is worth a look."""

    name: str
    ok: bool | None
    detail: str
    remedy: str


class Why(_Model):
    """Where and why a boot failed; `line` is what was seen."""

    name: str
    stage: str
    text: str
    remedy: str
    profile_key: str
    line: str


class Try(_Model):
    """One boot, or two, on one controller."""

    controller: str
    reached: str | None
    arrived: bool
    cause: Why | None
    events: tuple[Moment, ...]
    answers: tuple[Finding, ...]
    serial_log: str
    second_serial_log: str


class RehearsalReport(_Model):
    """The whole outcome; the last of `attempts` counts."""

    format: Literal["imgfix-rehearsal"] = "imgfix-rehearsal"
    version: Literal[1]
    disk: Text
    generation: int
    accelerator: str
    passed: bool
    attempts: tuple[Try, ...]


def model(result: Result) -> RehearsalReport:
    """Return the report of a rehearsal."""
    return RehearsalReport(
        version=VERSION,
        disk=str(result.request.disk),
        generation=result.generation,
        accelerator=result.verdict.accelerator.value,
        passed=result.passed,
        attempts=tuple(_try(attempt) for attempt in result.attempts),
    )


def _try(attempt: Attempt) -> Try:
    cause = attempt.cause
    return Try(
        controller=attempt.controller,
        reached=None if attempt.reached is None else attempt.reached.words,
        arrived=attempt.arrived,
        cause=None
        if cause is None
        else Why(
            name=cause.name,
            stage=cause.stage.words,
            text=cause.text,
            remedy=cause.remedy,
            profile_key=cause.key,
            line=cause.line,
        ),
        events=tuple(
            Moment(at=e.at, boot=e.boot, kind=e.kind.value, stage=e.stage.words if e.stage is not None else None,
                   text=e.text)
            for e in attempt.events
            if e.kind is not Kind.ANSWERS
        ),
        answers=tuple(Finding(name=a.name, ok=a.ok, detail=a.detail, remedy=a.remedy) for a in attempt.answers),
        serial_log=attempt.console,
        second_serial_log=attempt.second_console,
    )  # fmt: skip


def require_writable(path: Path) -> None:
    """Raise UsageError before anything starts if the report cannot be written there."""
    if path.suffix not in _SUFFIXES:
        raise UsageError(f"{path}: a report is .json or .html", hint="name it so: --report rehearsal.html")
    # is_dir of pathlib would raise where the way there is not open to this user.
    if not os.path.isdir(path.parent):  # noqa: PTH112
        raise UsageError(f"{path}: the folder {path.parent} does not exist", hint="make it, or name another")
    if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=True):
        raise UsageError(f"{path}: no permission to write in {path.parent}", hint="name another folder")


def write(path: Path, result: Result) -> None:
    """Write the report; raises UsageError where the file cannot be written."""
    text = model(result).model_dump_json(indent=2) + "\n" if path.suffix == ".json" else page(result)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: the report cannot be written: {error.strerror}") from error


def page(result: Result) -> str:
    """Return a page of its own around the section."""
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>imgfix rehearsal</title></head>'
        f"<body>{section(result)}</body></html>\n"
    )


def section(result: Result) -> str:
    """Return the rehearsal as a section for an HTML report: verdict, time line, answers, serial log."""
    attempt = result.attempt
    verdict = "passed" if result.passed else "failed"
    if attempt.cause is not None:
        verdict = (
            f"failed at {attempt.cause.stage.words}: {attempt.cause.text}. Remedy: {attempt.cause.remedy}"
        )
        verdict += f" ({attempt.cause.key})" if attempt.cause.key else ""
    rows = "".join(_row(a.ok, a.name, a.detail, a.remedy) for a in attempt.answers)
    return (
        f"<section><style>{_STYLE}</style><h2>Rehearsal of the first boot</h2>"
        f"<p>{_escaped(str(result.request.disk))}, Generation {result.generation}, {attempt.controller}</p>"
        f'<p class="{"good" if result.passed else "bad"}">{_escaped(verdict)}</p>{time_line(attempt)}'
        f"<table>{rows}</table><h3>Serial log</h3><pre>{''.join(_log(attempt.console))}</pre></section>"
    )


def time_line(attempt: Attempt) -> str:
    """Return the first boot's stages over time as a picture (SVG)."""
    times = [(stage, at) for stage in Stage if (at := attempt.seconds(stage)) is not None]
    end = max([event.at for event in attempt.events if event.boot == 1] or [1.0]) or 1.0
    width, step, left = 640, 22, 130
    parts = []
    for row, (stage, at) in enumerate(times):
        x, y = left + at / end * width, 10 + row * step
        parts.append(
            f'<text x="0" y="{y + 11}">{_escaped(stage.words)}</text>'
            f'<rect x="{left}" y="{y}" width="{max(x - left, 1):.0f}" height="14" rx="2"/>'
            f'<text x="{x + 6:.0f}" y="{y + 11}">{at:.1f} s</text>'
        )
    height = 20 + len(times) * step
    return f'<svg role="img" width="{left + width + 80}" height="{height}">{"".join(parts)}</svg>'


def _row(ok: bool | None, name: str, detail: str, remedy: str) -> str:
    sign = {True: "yes", False: "no", None: "note"}[ok]
    kind = {True: "good", False: "bad", None: "note"}[ok]
    cells = "".join(f"<td>{_escaped(text)}</td>" for text in (name, detail, remedy))
    return f'<tr><td class="{kind}">{sign}</td>{cells}</tr>'


def _log(console: str) -> Iterator[str]:
    marked = set(marked_lines(console))
    for number, line in enumerate(console.splitlines()):
        text = _escaped(line)
        yield f"<mark>{text}</mark>\n" if number in marked else f"{text}\n"


def _escaped(text: str) -> str:
    """A guest writes the log: nothing of it may become markup or drive a terminal."""
    return html.escape(printable(text))


_STYLE = (
    "svg text{font:12px sans-serif}svg rect{fill:#4a90d9}.good{color:#187a2f}.bad{color:#b3261e}.note{color:#946200}"
    "pre{max-height:30em;overflow:auto;background:#f6f6f6;padding:.5em}td{padding:.1em .6em;vertical-align:top}"
)
