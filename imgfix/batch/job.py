"""One image from its lease to its result: skipped if it is settled, tried, and tried again if the host is to blame."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_result,
    stop_after_attempt,
    wait_random_exponential,
)

from imgfix.batch import digest, lease, result, worker
from imgfix.batch.events import Event, Kind, Listener
from imgfix.batch.image import Image
from imgfix.batch.lease import Lease
from imgfix.batch.result import Content, Failure, Inputs, Result, State, failure_of
from imgfix.batch.worker import Outcome
from imgfix.disk.fault import host_errors
from imgfix.errors import ExitCode, ImgfixError, UsageError

#: Seconds between two looks at a lease that somebody else has.
_POLL = 2.0


@dataclass(frozen=True, slots=True)
class Policy:
    """How images are treated. `retries` is for transient failures; `backoff` is the longest first pause, in seconds.

    `force` replaces outputs that no earlier run made; `retry_failed` does permanent failures again.
    """

    retries: int = 2
    backoff: float = 10.0
    force: bool = False
    retry_failed: bool = False


class Slot(Protocol):
    """Room for one appliance, which the job has when it begins."""

    async def pause(self, seconds: float) -> None:
        """Let others have it for so long."""
        ...


class LeaseLost(Exception):
    """Another machine has taken the image over, since this one was not heard of for too long."""


async def run(image: Image, policy: Policy, slot: Slot, tell: Listener) -> Result:
    """Do `image`, and return its result, which is in its file then.

    Raises ImgfixError where not even the result can be kept. Cancelled, it leaves the state `interrupted`.
    """
    _make_folders(image)
    async with _leased(image, slot, tell):
        previous = result.read(image.result)
        job = _Job(image, policy, slot, tell)
        try:
            return await job.run(previous)
        except ImgfixError as error:
            return job.failed(error)


def _make_folders(image: Image) -> None:
    for folder in (image.results, image.output.parent):
        with host_errors("making the folder", folder):
            folder.mkdir(parents=True, exist_ok=True)


@asynccontextmanager
async def _leased(image: Image, slot: Slot, tell: Listener) -> AsyncIterator[None]:
    """Hold the lease inside; wait for it before, and renew it meanwhile."""
    told = ""
    while not isinstance(held := await asyncio.to_thread(lease.take, image.lease), Lease):
        if held.token != told:
            told = held.token
            tell(Event(Kind.WAITING, image, f"{held} works on it"))
        await slot.pause(_POLL)
    task = asyncio.current_task()
    assert task is not None
    lost = asyncio.Event()

    async def renew() -> None:
        while await asyncio.to_thread(held.renew):
            await asyncio.sleep(lease.RENEWAL)
        lost.set()
        task.cancel()

    renewing = asyncio.create_task(renew())
    try:
        yield
    except asyncio.CancelledError:
        if lost.is_set():
            raise LeaseLost(f"{image.name}: another machine has taken it over") from None
        raise
    finally:
        renewing.cancel()
        held.release()


class _Job:
    def __init__(self, image: Image, policy: Policy, slot: Slot, tell: Listener) -> None:
        self._image = image
        self._policy = policy
        self._slot = slot
        self._tell = tell
        self._result = Result(
            index=image.index,
            name=image.name,
            source=str(image.source),
            output=str(image.output),
            profile=image.profile,
            state=State.RUNNING,
            host=socket.gethostname(),
        )

    async def run(self, previous: Result | None) -> Result:
        known = previous.inputs.source if previous and previous.inputs else None
        inputs = await asyncio.to_thread(digest.inputs, self._image, known)
        ours = await asyncio.to_thread(self._is_ours, previous)
        if previous is not None and self._is_settled(previous, inputs, ours):
            self._tell(Event(Kind.SKIPPED, self._image, result=previous))
            return previous
        exists = self._image.output.exists()
        if exists and not ours and not self._policy.force:
            self._update(inputs=inputs)
            raise UsageError(
                f"{self._image.output}: exists already, and was not made by an earlier run of this batch",
                hint="move it away, or replace it with --force",
            )
        self._update(inputs=inputs, was_absent=not exists)
        self._keep()
        try:
            outcome = await self._attempts(force=exists)
        except asyncio.CancelledError:
            self._update(state=State.INTERRUPTED, verdict="interrupted")
            self._keep()
            raise
        return await self._ended(outcome)

    def failed(self, error: ImgfixError) -> Result:
        """Keep a failure that happened outside of the apply."""
        code = error.exit_code
        self._update(
            state=State.FAILED,
            verdict=error.message,
            hint=error.hint,
            exit_code=int(code),
            failure=failure_of(code),
        )
        self._keep()
        self._tell(Event(Kind.END, self._image, result=self._result))
        return self._result

    def _is_ours(self, previous: Result | None) -> bool:
        """Tell whether the output is what an earlier run made: only then it may be replaced."""
        if previous is None or not self._image.output.is_file():
            return False
        if previous.state in (State.RUNNING, State.INTERRUPTED):
            return previous.was_absent  # published, but the batch did not live to say so
        return previous.made is not None and self._made(previous.made).same_as(previous.made)

    def _is_settled(self, previous: Result, inputs: Inputs, ours: bool) -> bool:
        if previous.inputs is None or not previous.inputs.same_as(inputs):
            return False
        if previous.state is State.DONE:
            return ours
        # What was wrong with the call is told again in no time, and may be mended by now: a key, a folder.
        permanent = previous.failure is Failure.PERMANENT and previous.exit_code != ExitCode.USAGE
        return previous.state is State.FAILED and permanent and not self._policy.retry_failed

    def _made(self, known: Content | None) -> Content:
        return digest.content(self._image.output, known)

    async def _attempts(self, *, force: bool) -> Outcome:
        """Try until it is done, or the image's own fault, or often enough."""
        retrying = AsyncRetrying(
            retry=retry_if_result(_is_transient),
            stop=stop_after_attempt(self._policy.retries + 1),
            # random, so that workers that failed together do not come back together
            wait=wait_random_exponential(multiplier=self._policy.backoff, max=self._policy.backoff * 30),
            sleep=self._slot.pause,
            before_sleep=self._say_again,
            retry_error_callback=_last_outcome,
        )
        return await retrying(self._attempt, force)

    async def _attempt(self, force: bool) -> Outcome:
        self._tell(Event(Kind.BEGIN, self._image, f"attempt {len(self._result.attempts) + 1}"))
        outcome = await worker.apply(self._image, force=force, tell=self._phase)
        self._update(attempts=(*self._result.attempts, outcome.attempt))
        self._keep()
        return outcome

    def _phase(self, name: str) -> None:
        self._tell(Event(Kind.PHASE, self._image, name))

    def _say_again(self, state: RetryCallState) -> None:
        pause = state.next_action.sleep if state.next_action else 0.0
        verdict = self._result.attempts[-1].verdict
        self._tell(Event(Kind.RETRY, self._image, f"again in {pause:.0f} s: {verdict}"))

    async def _ended(self, outcome: Outcome) -> Result:
        attempt = outcome.attempt
        done = attempt.exit_code == ExitCode.DONE
        self._update(
            state=State.DONE if done else State.FAILED,
            verdict=attempt.verdict,
            hint=outcome.hint,
            exit_code=attempt.exit_code,
            failure=None if done else failure_of(attempt.exit_code),
            made=await asyncio.to_thread(self._made, None) if done else None,
        )
        self._keep()
        self._tell(Event(Kind.END, self._image, result=self._result))
        return self._result

    def _update(self, **fields: object) -> None:
        self._result = self._result.model_copy(update=fields)

    def _keep(self) -> None:
        result.write(self._image.result, self._result)


def _is_transient(outcome: Outcome) -> bool:
    code = outcome.attempt.exit_code
    return code != ExitCode.DONE and failure_of(code) is Failure.TRANSIENT


def _last_outcome(state: RetryCallState) -> Outcome:
    assert state.outcome is not None
    outcome = state.outcome.result()
    assert isinstance(outcome, Outcome)
    return outcome
