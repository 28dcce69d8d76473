"""The engine of one machine: as many images at a time as the budget takes, in the manifest's order."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from imgfix.batch import job
from imgfix.batch.events import Event, Kind, Listener
from imgfix.batch.image import Image
from imgfix.batch.job import LeaseLost, Policy
from imgfix.batch.result import Result, State, failure_of
from imgfix.errors import ExitCode, ImgfixError
from imgfix.interrupt import SIGNALS


class _Slots:
    """Room for so many appliances; whoever pauses gives up its place in it."""

    def __init__(self, jobs: int) -> None:
        self._free = asyncio.Semaphore(jobs)

    async def __aenter__(self) -> None:
        await self._free.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._free.release()

    async def pause(self, seconds: float) -> None:
        """Let others have the place for so long. It is held again afterwards, even if cancelled."""
        self._free.release()
        try:
            await asyncio.sleep(seconds)
        finally:
            await self._free.acquire()


@dataclass(frozen=True, slots=True)
class Ran:
    """What has become of the images, in their order; `interrupted` says that not all were done."""

    results: tuple[Result, ...]
    interrupted: bool


def run(images: Iterable[Image], policy: Policy, jobs: int, tell: Listener) -> Ran:
    """Do the images, `jobs` at a time. A signal ends the applies in good order, and then this."""
    return asyncio.run(_run(tuple(images), policy, jobs, tell))


async def _run(images: tuple[Image, ...], policy: Policy, jobs: int, tell: Listener) -> Ran:
    slots = _Slots(jobs)
    tasks = [asyncio.create_task(_one(image, policy, slots, tell)) for image in images]
    with _signals_cancel(tasks) as seen:
        done = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in done:
        if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
            raise outcome
    return Ran(tuple(outcome for outcome in done if isinstance(outcome, Result)), bool(seen))


async def _one(image: Image, policy: Policy, slots: _Slots, tell: Listener) -> Result:
    async with slots:
        try:
            return await job.run(image, policy, slots, tell)
        except Exception as error:  # one image never stops the rest, whatever it meets
            if not isinstance(error, ImgfixError | LeaseLost):
                traceback.print_exc()
            failed = without_file(image, error)
            tell(Event(Kind.END, image, result=failed))
            return failed


def without_file(image: Image, error: Exception) -> Result:
    """Return the result of an image whose result file cannot be written, or is another worker's."""
    known = error if isinstance(error, ImgfixError) else None
    code = known.exit_code if known else ExitCode.HOST if isinstance(error, LeaseLost) else ExitCode.BUG
    return Result(
        index=image.index,
        name=image.name,
        source=str(image.source),
        output=str(image.output),
        profile=image.profile,
        state=State.FAILED,
        verdict=known.message if known else str(error) or repr(error),
        hint=known.hint if known else None,
        exit_code=int(code),
        failure=failure_of(code),
    )


@contextmanager
def _signals_cancel(tasks: list[asyncio.Task[Result]]) -> Iterator[list[int]]:
    """While inside, a signal cancels the tasks, once: a second one must not disturb the cleaning up."""
    loop = asyncio.get_running_loop()
    seen: list[int] = []

    def cancel(number: int) -> None:
        if not seen:
            for task in tasks:
                task.cancel()
        seen.append(number)

    for number in SIGNALS:
        loop.add_signal_handler(number, cancel, number)
    try:
        yield seen
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
