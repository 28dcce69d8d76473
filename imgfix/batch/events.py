"""What a batch tells while it works; a terminal shows a table of it, a pipe gets a JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TextIO

from imgfix.batch.image import Image
from imgfix.batch.result import Result


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


Listener = Callable[[Event], None]


def json_lines(stream: TextIO) -> Listener:
    """Return a listener that writes each event to `stream` as a JSON object on a line of its own."""

    def tell(event: Event) -> None:
        fields: dict[str, object] = {"event": event.kind.value, "image": event.image.name}
        if event.text:
            fields["text"] = event.text
        if event.result is not None:
            fields |= _told(event.result)
        print(json.dumps(fields, ensure_ascii=False), file=stream, flush=True)

    return tell


def _told(result: Result) -> dict[str, object]:
    return {
        "state": result.state.value,
        "verdict": result.verdict,
        **({"hint": result.hint} if result.hint else {}),
        "exit_code": result.exit_code,
        **({"failure": result.failure.value} if result.failure else {}),
        "attempts": len(result.attempts),
        "seconds": round(result.seconds, 1),
        "output": result.output,
    }
