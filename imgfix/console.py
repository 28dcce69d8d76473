"""The terminal: phases with bars for people, plain lines for pipes. Guest text never reaches it raw."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TextIO, cast

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, SpinnerColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

from imgfix.progress import Progress


def printable(text: str) -> str:
    """Return `text` with control characters made visible: a guest's file name must not drive the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def safe(text: str) -> str:
    """Return guest text ready for rich: printable, and no markup in it."""
    return escape(printable(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")))


class _Stripped:
    """A stream for text in columns: what fills up the last one stays behind."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write without blanks at the ends of lines; rich gives whole lines."""
        self._stream.write(re.sub(r" +$", "", text, flags=re.MULTILINE))
        return len(text)

    def flush(self) -> None:
        """Flush the stream itself."""
        self._stream.flush()


#: Columns for those who read a pipe: a line is never wrapped.
_WIDE = 10_000


def standard_output() -> Console:
    """Return stdout for tables: wrapped where people read, a thing a line in a pipe; COLUMNS has the last word."""
    console = Console()
    if console.is_terminal or os.environ.get("COLUMNS"):
        return console
    return Console(file=cast(TextIO, _Stripped(sys.stdout)), width=_WIDE)


_WORDS = {
    "copy": "copying the disk",
    "launch": "starting the appliance",
    "packages": "installing packages",
    "inspect": "reading the guest",
    "plan": "planning",
    "grow": "growing the root",
    "apply": "changing the guest",
    "verify": "verifying",
    "emit": "writing the VHD",
    "digest": "making digests of both disks",
    "rehearse": "booting on a simulated Azure",
}


class PlainProgress(Progress):
    """One line a phase, for pipes and logs."""

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        super().__init__()
        self._console = console
        self._verbose = verbose

    @property
    def verbose(self) -> bool:
        """Tell whether the guest's commands are listened to."""
        return self._verbose

    def output(self, line: str) -> None:
        """Show a line of a guest's command, marked as such."""
        self._console.print(f"  | {safe(line)}", highlight=False, soft_wrap=True)

    def begin(self, name: str) -> None:
        """Say that a phase begins."""
        self._console.print(f"{_WORDS[name]} ...", highlight=False)

    def say(self, sentence: str) -> None:
        """Say it on a line of its own."""
        self._console.print(f"  {safe(sentence)}", highlight=False, soft_wrap=True)


class _Mark(SpinnerColumn):
    """Turns while a phase goes on; then says how it ended."""

    def render(self, task: Task) -> RenderableType:
        """Return a tick, a cross or the spinner."""
        if task.fields["failed"]:
            return Text("\u2717", style="bold red")
        return super().render(task)


class BarProgress(Progress):
    """A bar or a spinner a phase, for terminals; use it as a context manager."""

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        super().__init__()
        self._verbose = verbose
        self._bars = Bars(
            _Mark(finished_text="[green]\u2713"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}", style="dim"),
            TimeElapsedColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> BarProgress:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def begin(self, name: str) -> None:
        """Show a new line, or wake the one that this phase already has."""
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(_WORDS[name], total=None, note="", failed=False)
        self._bars.update(self._tasks[name], total=None)

    def end(self, name: str) -> None:
        """Fill the bar, or stop it where it failed."""
        self._bars.update(self._tasks[name], total=1, completed=1, note="", failed=self.failed_in == name)

    def copied(self, done: int, total: int) -> None:
        """Move the copy's bar."""
        note = f"{done >> 20} of {total >> 20} MiB"
        self._bars.update(self._tasks["copy"], completed=done, total=max(total, 1), note=note)

    @property
    def verbose(self) -> bool:
        """Tell whether the guest's commands are listened to."""
        return self._verbose

    def output(self, line: str) -> None:
        """Show a line of a guest's command above the bars."""
        self._bars.console.print(f"  [dim]| {safe(line)}[/]", highlight=False)

    def say(self, sentence: str) -> None:
        """Print above the bars."""
        self._bars.console.print(Padding(safe(sentence), (0, 0, 0, 2)), highlight=False)


@contextmanager
def terminal_progress() -> Iterator[Progress]:
    """Show progress on stderr: bars on a terminal, plain lines elsewhere."""
    console = Console(stderr=True)
    with ExitStack() as stack:
        yield stack.enter_context(BarProgress(console)) if console.is_terminal else PlainProgress(console)


@contextmanager
def readers_may_leave() -> Iterator[None]:
    """Print inside: who reads may have seen enough (`| head`), and what the command has found stays as it is.

    What is still buffered then goes nowhere: https://docs.python.org/3/library/signal.html#note-on-sigpipe
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
