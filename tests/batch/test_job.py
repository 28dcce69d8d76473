"""One image: what a rerun skips, replaces, refuses, tries again. With real applies: tests/guests/test_batch.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from imgfix.batch import job, result, worker
from imgfix.batch.events import Event, Kind
from imgfix.batch.image import Image
from imgfix.batch.job import Policy
from imgfix.batch.result import Attempt, Failure, Result, State, failure_of
from imgfix.batch.worker import Outcome


@dataclass(slots=True)
class Applies:
    """Stands for `imgfix apply`: ends with the given codes in turn, and writes an output with code 0."""

    codes: list[int]
    calls: list[bool] = field(default_factory=list)

    async def __call__(self, image: Image, *, force: bool, tell: Callable[[str], None]) -> Outcome:
        self.calls.append(force)
        tell("copying the disk")
        code = self.codes.pop(0)
        if code == 0:
            assert force or not image.output.exists()
            image.output.write_text(f"made at call {len(self.calls)}")
        attempt = Attempt(began="now", seconds=1.0, exit_code=code, verdict=f"ended with {code}")
        return Outcome(attempt, None)


class Slot:
    """Counts pauses instead of making them."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


@dataclass(slots=True)
class Bench:
    """An image, and its runs."""

    image: Image
    monkeypatch: pytest.MonkeyPatch
    events: list[Event] = field(default_factory=list)
    slot: Slot = field(default_factory=Slot)

    def run(self, *codes: int, policy: Policy | None = None) -> tuple[Result, list[bool]]:
        """Run once, with applies that end with `codes`; returns the result and the `force` of each apply."""
        applies = Applies(list(codes))
        self.monkeypatch.setattr(worker, "apply", applies)
        made = asyncio.run(job.run(self.image, policy or Policy(), self.slot, self.events.append))
        assert applies.codes == []
        assert not self.image.lease.exists()
        assert result.read(self.image.result) == made
        return made, applies.calls


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    source = tmp_path / "d.raw"
    source.write_text("a disk")
    image = Image(0, "d.vhd", source, tmp_path / "out/d.vhd", tmp_path / "out/results", "rhel")
    return Bench(image, monkeypatch)


def test_what_is_done_is_skipped_until_something_changes(bench: Bench) -> None:
    done, calls = bench.run(0)
    assert (done.state, calls, done.was_absent) == (State.DONE, [False], True)
    assert bench.run() == (done, [])
    assert bench.events[-1].kind is Kind.SKIPPED
    bench.image.source.write_text("another disk")
    assert bench.run(0)[1] == [True], "its own output is replaced"
    bench.image.output.unlink()
    assert bench.run(0)[1] == [False]


def test_an_output_of_somebody_else_is_refused(bench: Bench) -> None:
    bench.image.output.parent.mkdir()
    bench.image.output.write_text("precious")
    refused, _ = bench.run()
    assert refused.exit_code == 2
    assert "exists already" in refused.verdict
    assert bench.run()[0] == refused, "asked again, as nothing was tried"
    assert bench.image.output.read_text() == "precious"
    assert bench.run(0, policy=Policy(force=True))[1] == [True]
    bench.image.output.write_text("edited by hand")
    assert "exists already" in bench.run()[0].verdict


@pytest.mark.parametrize("state", [State.RUNNING, State.INTERRUPTED])
@pytest.mark.parametrize("published", [True, False])
def test_after_a_kill_the_rest_is_done(bench: Bench, state: State, published: bool) -> None:
    done, _ = bench.run(0)
    result.write(bench.image.result, done.model_copy(update={"state": state, "made": None}))
    if not published:
        bench.image.output.unlink()
    again, calls = bench.run(0)
    assert (again.state, calls) == (State.DONE, [published])


def test_a_killed_run_over_a_foreign_output_does_not_make_it_ours(bench: Bench) -> None:
    bench.image.output.parent.mkdir()
    bench.image.output.write_text("precious")
    done, _ = bench.run(0, policy=Policy(force=True))
    bench.image.output.write_text("precious")
    result.write(bench.image.result, done.model_copy(update={"state": State.RUNNING, "made": None}))
    assert "exists already" in bench.run()[0].verdict


def test_permanent_failures_wait_for_a_change_or_for_retry_failed(bench: Bench) -> None:
    failed, _ = bench.run(3)
    assert (failed.state, failed.failure) == (State.FAILED, Failure.PERMANENT)
    assert bench.run() == (failed, [])
    assert bench.run(5, policy=Policy(retry_failed=True))[0].exit_code == 5
    bench.image.source.write_text("mended")
    assert bench.run(0)[0].state is State.DONE


def test_transient_failures_are_tried_again_with_growing_pauses(bench: Bench) -> None:
    done, calls = bench.run(4, -9, 0)
    assert (done.state, len(calls), len(done.attempts)) == (State.DONE, 3, 3)
    assert len(bench.slot.pauses) == 2
    assert 0 <= bench.slot.pauses[0] <= 10
    bench.image.output.unlink()
    failed, _ = bench.run(4, 4, policy=Policy(retries=1))
    assert (failed.failure, failed.exit_code) == (Failure.TRANSIENT, 4)
    assert bench.run(0)[0].state is State.DONE, "by itself at the next run"


def test_a_transient_failure_may_turn_out_permanent(bench: Bench) -> None:
    assert bench.run(4, 3)[0].failure is Failure.PERMANENT


def test_a_missing_source_is_a_verdict(bench: Bench) -> None:
    bench.image.source.unlink()
    failed, _ = bench.run()
    assert (failed.exit_code, failed.failure) == (2, Failure.PERMANENT)
    assert "there is no such file" in failed.verdict


def test_cancelled_it_says_so_and_lets_go(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def endless(*_: object, **__: object) -> Outcome:
        await asyncio.sleep(60)
        raise AssertionError("never reached")

    async def cancelled() -> None:
        monkeypatch.setattr(worker, "apply", endless)
        task = asyncio.create_task(job.run(bench.image, Policy(), bench.slot, bench.events.append))
        while not any(event.kind is Kind.BEGIN for event in bench.events):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    kept = result.read(bench.image.result)
    assert kept is not None
    assert kept.state is State.INTERRUPTED
    assert not bench.image.lease.exists()


def test_one_that_another_does_is_waited_for(bench: Bench) -> None:
    async def both() -> tuple[Result, Result]:
        applies = Applies([0])
        bench.monkeypatch.setattr(worker, "apply", applies)
        runs = (job.run(bench.image, Policy(), bench.slot, bench.events.append) for _ in range(2))
        one, other = await asyncio.gather(*runs)
        assert len(applies.calls) == 1
        return one, other

    one, other = asyncio.run(both())
    assert one == other
    assert {event.kind for event in bench.events} >= {Kind.WAITING, Kind.SKIPPED, Kind.END}


def test_exit_codes_are_classed() -> None:
    codes = {code: failure_of(code) for code in (1, 2, 3, 4, 5, 6, 130, -9)}
    transient = {code for code, failure in codes.items() if failure is Failure.TRANSIENT}
    assert transient == {4, 130, -9}


def test_a_damaged_result_is_none(tmp_path: Path) -> None:
    for text in ("", "{", '{"format": 2}', "[]", "\x00"):
        (tmp_path / "r").write_text(text)
        assert result.read(tmp_path / "r") is None
