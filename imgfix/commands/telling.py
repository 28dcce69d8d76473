"""How an apply tells what it does: --report, --progress, -v, --debug, --keep-failed."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import click

from imgfix.commands.paths import FILE
from imgfix.errors import ExitCode, ImgfixError

if TYPE_CHECKING:
    from imgfix.diary import Diary
    from imgfix.events import JsonProgress
    from imgfix.progress import Progress

_T = TypeVar("_T", bound=Callable[..., object])
Form = Literal["auto", "bars", "plain", "json"]


class Told(Exception):
    """A failure that has been told already, as the last line of --progress json; only its exit code is left."""

    def __init__(self, code: ExitCode) -> None:
        self.code = code


@dataclass(frozen=True, slots=True)
class Telling:
    """The options of one call."""

    reports: tuple[Path, ...]
    form: Form
    verbose: bool
    debug: bool
    keep_failed: bool
    profile_time: bool = False

    @contextmanager
    def of(self, disk: Path, output: Path) -> Iterator[tuple[Progress, Diary]]:
        """Run an apply inside: yields its progress and diary. Reports are written when it is over, well or not.

        Raises UsageError and HostError for a report that could not be written, before anything is done, and Told
        instead of an error under --progress json.
        """
        from imgfix.diary import Diary

        diary = Diary(detailed=bool(self.reports))
        with ExitStack() as stack:
            progress, events = self._progress(stack)
            try:
                self._require_writable(disk, output)
                with self._timed(progress), self._reported(diary, progress):
                    yield progress, diary
                if events is not None:
                    events.done(str(output))
            except (ImgfixError, KeyboardInterrupt) as error:
                stack.close()
                told = _told(error)
                self._explain(told, diary)
                if events is None:
                    raise
                events.failed(told)
                raise Told(told.exit_code) from error

    def _progress(self, stack: ExitStack) -> tuple[Progress, JsonProgress | None]:
        if self.form == "json":
            from imgfix.events import JsonProgress

            events = JsonProgress(sys.stderr, verbose=self.verbose)
            return events, events
        from rich.console import Console

        from imgfix.console import BarProgress, PlainProgress

        console = Console(stderr=True)
        if self.form == "bars" or (self.form == "auto" and console.is_terminal):
            return stack.enter_context(BarProgress(console, verbose=self.verbose)), None
        return PlainProgress(console, verbose=self.verbose), None

    def _require_writable(self, disk: Path, output: Path) -> None:
        if self.reports:
            from imgfix.reports.write import require_writable

            require_writable(self.reports, (disk, output))

    @contextmanager
    def _timed(self, progress: Progress) -> Iterator[None]:
        """Print the time line when it is over, well or not; JSON lines hold it already."""
        try:
            yield
        finally:
            if self.profile_time and self.form != "json":
                from rich.console import Console

                from imgfix import timeline

                Console(stderr=True).print(timeline.table(progress.spans, progress.commands))

    @contextmanager
    def _reported(self, diary: Diary, progress: Progress) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            diary.error, diary.failed_in = _told(error), progress.failed_in
            try:
                self._write(diary, progress)
            except ImgfixError as second:  # the first one is what counts
                progress.say(f"the report is not written: {second.message}")
            raise
        try:
            self._write(diary, progress, is_told=self.form == "json")
        except Exception as error:
            if isinstance(error, ImgfixError):
                kind, why = type(error), error.message
            else:
                kind, why = ImgfixError, f"this is a bug of imgfix: {error!r}"
            raise kind(f"{diary.target} is ready, but its report is not written: {why}") from error

    def _write(self, diary: Diary, progress: Progress, *, is_told: bool = True) -> None:
        """Write the reports; people are told of those of an apply that went well by its summary."""
        if not self.reports:
            return
        from imgfix.reports.build import build
        from imgfix.reports.versions import versions
        from imgfix.reports.write import write

        report = build(
            diary,
            progress.spans,
            versions(diary.accelerator),
            _requirements(),
            time.time(),
            progress.commands,
        )
        for path in self.reports:
            write(report, path)
            if is_told:
                progress.say(f"report: {path}")

    def _explain(self, error: ImgfixError, diary: Diary) -> None:
        """With --debug: add to the hint the line that runs the failed command of the guest again."""
        if self.debug:
            from imgfix.reports.build import guestfish_line

            line = guestfish_line(diary)
            if line:
                error.hint = "\n".join(filter(None, (error.hint, f"to run it again:\n{line}")))


class _Interrupted(ImgfixError):
    """Somebody ended the apply."""

    exit_code = ExitCode.INTERRUPTED


def _told(error: BaseException) -> ImgfixError:
    """Return any end of an apply as an error that reports can tell."""
    if isinstance(error, ImgfixError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return _Interrupted("interrupted; the source is untouched and nothing was published")
    return ImgfixError(f"this is a bug of imgfix: {error!r}", hint="please report it")


def _requirements() -> Mapping[str, tuple[str, ...]]:
    from imgfix.steps import PACKAGES, STEPS

    return {step.name: step.requirements for step in (PACKAGES, *STEPS)}


def options(command: _T) -> _T:
    """Add the options; the command gets them as one argument, `telling`."""

    @functools.wraps(command)
    def gathered(
        *arguments: object,
        reports: tuple[Path, ...],
        form: Form,
        verbose: bool,
        debug: bool,
        keep_failed: bool,
        profile_time: bool,
        **others: object,
    ) -> object:
        telling = Telling(reports, form, verbose, debug, keep_failed, profile_time)
        return command(*arguments, telling=telling, **others)

    decorated: Callable[..., object] = gathered
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[return-value]  # click's decorators keep the signature


_OPTIONS = (
    click.option(
        "--report",
        "reports",
        multiple=True,
        type=FILE,
        metavar="FILE",
        help="Write a report, of a failed apply too: FILE.html to read, FILE.json for programs; repeatable.",
    ),
    click.option(
        "--progress",
        "form",
        type=click.Choice(["auto", "bars", "plain", "json"]),
        default="auto",
        help="Progress on stderr: bars, plain lines, or JSON lines; auto: bars on a terminal.",
    ),
    click.option("-v", "--verbose", is_flag=True, help="Show what commands of the guest print."),
    click.option("--debug", is_flag=True, help="Where a command of the guest fails: how to run it again."),
    click.option(
        "--profile-time", is_flag=True, help="Tell where the time went: phases, commands of the guest."
    ),
    click.option("--keep-failed", is_flag=True, help="Keep the work copy of a failed apply, a raw image."),
)
