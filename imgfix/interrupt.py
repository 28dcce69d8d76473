"""Ctrl-C and SIGTERM while the program sits in a long call of libguestfs.

Python runs its signal handlers between bytecodes, so a signal that arrives during a C call of several minutes
would wait for its end. The wake-up pipe is written by the C-level handler at once; a thread reads it and ends
the appliance, the C call fails, and the Python handler then raises in the main thread.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal asked imgfix to end; unwinding removes everything that was begun."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interrupts:
    """Knows how to end what a blocked C call waits for. `seen` tells whether a signal has come."""

    def __init__(self) -> None:
        self.seen = False
        self._enders: list[Callable[[], None]] = []

    @contextmanager
    def ending(self, end: Callable[[], None]) -> Iterator[None]:
        """While inside, a signal calls `end` from another thread."""
        self._enders.append(end)
        try:
            yield
        finally:
            self._enders.remove(end)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle SIGNALS while inside; for the main thread of a program, not for a library's caller."""
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(reader, True)
        old_wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        old_handlers = {number: signal.signal(number, _raise) for number in SIGNALS}
        watcher = threading.Thread(target=self._watch, args=(reader,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            for number, handler in old_handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(old_wakeup)
            os.close(writer)
            watcher.join()
            os.close(reader)

    def _watch(self, reader: int) -> None:
        while numbers := os.read(reader, 64):
            if not set(numbers) & set(SIGNALS):
                continue
            self.seen = True
            for end in list(self._enders):
                end()


def _raise(number: int, _: FrameType | None) -> NoReturn:
    raise Interrupted(number)
