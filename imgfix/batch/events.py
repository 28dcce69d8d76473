"""What a batch tells while it works; a terminal shows a table of it, a pipe gets a JSON object a line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Literal, TextIO

from pydantic import Field

from imgfix.batch.image import Image
from imgfix.batch.result import Failure, Result, State
from imgfix.reports.part import Part

VERSION: Literal[1] = 1


class Kind(str, Enum):
    """What has happened to an image."""

    WAITING = "waiting"  # somebody else works on it
    BEGIN = "begin"
    PHASE = "phase"
    RETRY = "retry"
    SKIPPED = "skipped"  # an earlier run has settled it
    END = "end"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an image; `result` comes with SKIPPED and END."""

    kind: Kind
    image: Image
    text: str = ""
    result: Result | None = None


class Line(Part):
    """One line of the pipe. What a result has comes with `skipped` and `end`; fields without a value are left out.

    The version changes whenever a field changes its meaning, or goes. `imgfix schema batch-line` prints the schema.
    """

    version: Literal[1] = VERSION
    event: Kind
    image: str
    text: str | None = Field(None, description="the attempt, the phase, why it waits or is tried again")
    state: State | None = None
    verdict: str | None = None
    hint: str | None = None
    exit_code: int | None = None
    failure: Failure | None = None
    attempts: int | None = Field(None, description="how often it was tried")
    seconds: float | None = Field(None, description="what its attempts took together")
    output: str | None = None


Listener = Callable[[Event], None]


def json_lines(stream: TextIO) -> Listener:
    """Return a listener that writes each event to `stream` as a JSON object on a line of its own."""

    def tell(event: Event) -> None:
        print(_line(event).model_dump_json(exclude_none=True), file=stream, flush=True)

    return tell


def _line(event: Event) -> Line:
    line = Line(event=event.kind, image=event.image.name, text=event.text or None)
    result = event.result
    if result is None:
        return line
    told = {
        "state": result.state,
        "verdict": result.verdict,
        "hint": result.hint or None,
        "exit_code": result.exit_code,
        "failure": result.failure,
        "attempts": len(result.attempts),
        "seconds": round(result.seconds, 1),
        "output": result.output,
    }
    return line.model_copy(update=told)
