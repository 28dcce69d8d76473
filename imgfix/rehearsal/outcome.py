"""A rehearsal's result as the data of its report."""

from __future__ import annotations

from imgfix.rehearsal.events import Kind
from imgfix.rehearsal.model import VERSION, Finding, Moment, RehearsalReport, Try, Why
from imgfix.rehearsal.rehearse import Attempt, Result


def model(result: Result) -> RehearsalReport:
    """Return the report of a rehearsal."""
    return RehearsalReport(
        version=VERSION,
        disk=str(result.request.name),
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
