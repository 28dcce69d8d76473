"""--progress json: what happens, as JSON lines for programs. The published form of each line is Event."""

from __future__ import annotations

import json
import time
from typing import Literal, TextIO

from pydantic import Field

from imgfix.errors import ImgfixError
from imgfix.progress import Progress
from imgfix.reports.part import Part, visible

VERSION = 1
#: Seconds between two lines about the copy.
_PAUSE = 0.5


class Event(Part):
    """One line. Fields that do not belong to its kind are left out."""

    version: Literal[1] = 1
    event: Literal["begin", "end", "copied", "message", "output", "command", "done", "error"] = Field(
        description="begin and end of a phase; bytes copied; something to know; a line that a command of the guest "
        "prints (with -v); the end of a command of the guest; the last line: done or error"
    )
    at: float = Field(description="seconds since imgfix began")
    phase: str | None = Field(
        None, description="of begin, end and error: copy, launch, inspect, packages ..."
    )
    seconds: float | None = Field(
        None, description="of end and command: how long this stretch of the phase, or the command, took"
    )
    done: int | None = Field(None, description="of copied: bytes")
    total: int | None = Field(None, description="of copied: bytes, holes not counted")
    text: str | None = Field(None, description="of message, output and error")
    hint: str | None = Field(None, description="of error: what to do next")
    exit_code: int | None = Field(None, description="of error")
    path: str | None = Field(None, description="of done: the VHD")
    argv: tuple[str, ...] | None = Field(None, description="of command: its words")
    status: int | None = Field(None, description="of command: its exit status")


class JsonProgress(Progress):
    """A line an event on `stream`."""

    def __init__(self, stream: TextIO, *, verbose: bool = False) -> None:
        super().__init__()
        self._stream = stream
        self._verbose = verbose
        self._told = 0.0

    def _tell(self, event: Event) -> None:
        self._stream.write(json.dumps(event.model_dump(exclude_none=True), ensure_ascii=True) + "\n")
        self._stream.flush()

    def _at(self) -> float:
        return round(time.monotonic() - self._origin, 3)

    def begin(self, name: str) -> None:
        """A phase begins."""
        self._tell(Event(event="begin", at=self._at(), phase=name))

    def end(self, name: str) -> None:
        """A phase has ended, well or not."""
        self._tell(Event(event="end", at=self._at(), phase=name, seconds=round(self.spans[-1].seconds, 3)))

    def copied(self, done: int, total: int) -> None:
        """`done` of `total` bytes are copied; told every half second, and at the end."""
        now = time.monotonic()
        if done >= total or now - self._told >= _PAUSE:
            self._told = now
            self._tell(Event(event="copied", at=self._at(), done=done, total=total))

    def say(self, sentence: str) -> None:
        """Something the user should know."""
        self._tell(Event(event="message", at=self._at(), text=visible(sentence)))

    def ran(self, argv: tuple[str, ...], seconds: float, status: int) -> None:
        """A command of the guest has ended."""
        super().ran(argv, seconds, status)
        words = tuple(map(visible, argv))
        self._tell(
            Event(event="command", at=self._at(), argv=words, seconds=round(seconds, 3), status=status)
        )

    def output(self, line: str) -> None:
        """A line that a command of the guest prints."""
        self._tell(Event(event="output", at=self._at(), text=visible(line)))

    @property
    def verbose(self) -> bool:
        """Tell whether the guest's commands are listened to."""
        return self._verbose

    def done(self, path: str) -> None:
        """All went well; the last line."""
        self._tell(Event(event="done", at=self._at(), path=visible(path)))

    def failed(self, error: ImgfixError) -> None:
        """It did not; the last line."""
        self._tell(
            Event(
                event="error",
                at=self._at(),
                phase=self.failed_in,
                text=visible(error.message),
                hint=error.hint,
                exit_code=int(error.exit_code),
            )
        )
