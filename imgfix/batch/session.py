"""One call of `imgfix batch`: budget, engine, what is shown, the summary page, the exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from imgfix.batch import budget, dask_engine, local, summary
from imgfix.batch.events import Listener, json_lines
from imgfix.batch.image import Image
from imgfix.batch.job import Policy
from imgfix.batch.live import LiveTable, final_table
from imgfix.batch.local import Ran
from imgfix.batch.manifest_load import Batch
from imgfix.batch.result import Result, State, read
from imgfix.errors import ExitCode


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended: its exit code, and the summary page if one was written."""

    code: ExitCode | int
    page: Path | None = None


def run(batch: Batch, policy: Policy, jobs: int | None, memory: int | None) -> Ended:
    """Do the whole batch on this machine. Raises ImgfixError where it cannot even begin."""
    room = budget.budget(jobs, memory, len(batch.images))
    with _listener(batch.images) as tell:
        ran = local.run(batch.images, policy, room.jobs, tell)
    return finish(batch, ran)


def run_on_cluster(batch: Batch, policy: Policy, scheduler: str) -> Ended:
    """Do the whole batch on the workers of a Dask scheduler. Raises HostError where it cannot even begin."""
    with _listener(batch.images) as tell:
        ran = dask_engine.run(batch.images, policy, scheduler, tell)
    return finish(batch, ran)


def run_one(batch: Batch, index: int, policy: Policy) -> Ended:
    """Do image `index` alone; the exit code is that of its apply. No page is written: others run beside it.

    How many run at once, and with how much memory, is the business of who starts them.
    """
    image = batch.images[index]
    with _listener((image,)) as tell:
        ran = local.run((image,), policy, 1, tell)
    if ran.interrupted:
        return Ended(ExitCode.INTERRUPTED)
    code = ran.results[0].exit_code or 0
    # A killed apply has no exit code of its own, and the host is to blame.
    return Ended(ExitCode.HOST if code < 0 else code)


def finish(batch: Batch, ran: Ran) -> Ended:
    """Write the page, show the verdicts, and return how it ended."""
    results = _known(batch, ran)
    page = summary.write(batch.results, batch.origin, results, len(batch.images))
    console = Console()
    if console.is_terminal:
        console.print(final_table(results))
    return Ended(ExitCode.INTERRUPTED if ran.interrupted else exit_code(ran.results), page)


def _known(batch: Batch, ran: Ran) -> tuple[Result, ...]:
    """The results of this run, and where it was interrupted, what the files of the others say."""
    if not ran.interrupted:
        return ran.results
    by_name = {result.name: result for result in ran.results}
    found = (by_name.get(image.name) or read(image.result) for image in batch.images)
    return tuple(result for result in found if result is not None)


def exit_code(results: tuple[Result, ...]) -> ExitCode:
    """All done, some, none."""
    done = sum(result.state is State.DONE for result in results)
    if done == len(results):
        return ExitCode.DONE
    return ExitCode.SOME_FAILED if done else ExitCode.APPLY


@contextmanager
def _listener(images: tuple[Image, ...]) -> Iterator[Listener]:
    console = Console()
    if not console.is_terminal:
        yield json_lines(sys.stdout)
        return
    with LiveTable(console, [image.name for image in images]) as table:
        yield table
