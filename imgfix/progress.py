"""What the pipeline tells while it works. The terminal's look is in `console`; a library caller may be silent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Progress:
    """Silent base: times the phases. Subclasses show them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Run one phase of the work; its seconds are added up under `name`."""
        self.begin(name)
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start
            self.end(name)

    def begin(self, name: str) -> None:
        """A phase begins."""

    def end(self, name: str) -> None:
        """A phase has ended, well or not."""

    def copied(self, done: int, total: int) -> None:
        """`done` of `total` bytes are copied."""

    def say(self, sentence: str) -> None:
        """Something the user should know while it happens."""
