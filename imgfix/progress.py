"""What the pipeline tells while it works. The terminal's look is in `console`; a library caller may be silent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from imgfix.disk.fault import boundary


@dataclass(frozen=True, slots=True)
class Span:
    """One stretch of a phase; `begin` and `seconds` in seconds, `begin` since the progress was made."""

    name: str
    begin: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Ran:
    """A command of the guest that has ended; `begin` and `seconds` as of a Span."""

    argv: tuple[str, ...]
    begin: float
    seconds: float
    status: int


class Progress:
    """Silent base: times the phases. Subclasses show them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        #: A phase may come more than once: it has a stretch each time.
        self.spans: list[Span] = []
        #: The commands of the guest, in the order in which they ran.
        self.commands: list[Ran] = []
        #: The phase in which an error came up, the innermost.
        self.failed_in: str | None = None
        self._origin = time.monotonic()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Run one phase of the work; its seconds are added up under `name`."""
        self.begin(name)
        boundary(f"begin-{name}")
        start = time.monotonic()
        try:
            yield
        except BaseException:
            self.failed_in = self.failed_in or name
            raise
        finally:
            seconds = time.monotonic() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
            self.spans.append(Span(name, start - self._origin, seconds))
            self.end(name)
        boundary(f"end-{name}")

    def begin(self, name: str) -> None:
        """A phase begins."""

    def end(self, name: str) -> None:
        """A phase has ended, well or not."""

    def copied(self, done: int, total: int) -> None:
        """`done` of `total` bytes are copied."""

    def say(self, sentence: str) -> None:
        """Something the user should know while it happens."""

    def ran(self, argv: tuple[str, ...], seconds: float, status: int) -> None:
        """A command of the guest has ended after `seconds`."""
        now = time.monotonic() - self._origin
        self.commands.append(Ran(argv, now - seconds, seconds, status))

    def output(self, line: str) -> None:
        """A line that a command of the guest prints, raw; called only if `verbose`."""

    @property
    def verbose(self) -> bool:
        """Tell whether anybody wants to see what the guest's commands print."""
        return False
