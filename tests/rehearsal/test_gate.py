"""What a rehearsal's result does to an apply, and what it looks like on a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from imgfix.accel import Accelerator, Verdict
from imgfix.errors import VerifyError
from imgfix.rehearsal import gate, outcome, show
from imgfix.rehearsal.diagnosis import Cause
from imgfix.rehearsal.events import Event, Kind, Stage
from imgfix.rehearsal.questions import Answer
from imgfix.rehearsal.rehearse import Attempt, Request, Result

CAUSE = Cause("root by disk name", Stage.ROOT, "the root is /dev/vda2", "name it by its UUID", "fstab.by_uuid: true",
              "ALERT! /dev/vda2 [bold]does not exist[/]")  # fmt: skip
GOOD = Answer("swap", True, "none on the OS disk")
BAD = Answer("host name", False, "localhost, rehearsal wanted", "who sets it?")


def result(*answers: Answer, cause: Cause | None = None) -> Result:
    """A result with these answers, or one that failed."""
    events = (
        Event(0.0, Kind.STARTED, "Generation 1, ide"),
        Event(9.0, Kind.CONSOLE, "the kernel starts", Stage.KERNEL),
        Event(70.0, Kind.READY, "cloud-init reports Ready", Stage.READY),
        Event(3.0, Kind.CONSOLE, "the kernel starts", Stage.KERNEL, boot=2),
    )
    attempt = Attempt("ide", events, "Linux version 6.1\n", "", answers, Stage.KERNEL, cause is None, cause)
    return Result(Request(Path("web.vhd")), 1, Verdict(Accelerator.TCG, ""), (attempt,))


def shown(found: Result) -> str:
    """What a terminal of 120 columns shows."""
    console = Console(file=io.StringIO(), width=120)
    show.show(console, found)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_what_passed_is_published_and_what_did_not_is_told_with_the_remedy() -> None:
    gate.require_passed(result(GOOD))
    with pytest.raises(VerifyError, match=r"failed at root file system: the root is /dev/vda2") as failed:
        gate.require_passed(result(cause=CAUSE))
    assert failed.value.hint == "name it by its UUID; profile: fstab.by_uuid: true"
    with pytest.raises(VerifyError, match=r"came to SSH .* and is not ready: host name: localhost") as failed:
        gate.require_passed(result(GOOD, BAD))
    assert failed.value.hint == "who sets it?"


def test_the_terminal_tells_the_time_line_by_boot_and_takes_no_markup_from_a_guest() -> None:
    text = shown(result(GOOD))
    assert text.index("kernel") < text.index("Ready") < text.index("second boot: kernel")
    assert "rehearsed: web.vhd, Generation 1, ide, emulated, no KVM" in text
    failed = shown(result(cause=CAUSE))
    assert "[bold]does not exist[/]" in failed
    assert "failed at root file system" in failed
    assert "not ready (host name)" in shown(result(BAD))


def test_the_report_holds_the_same() -> None:
    found = outcome.model(result(cause=CAUSE))
    assert not found.passed
    (attempt,) = found.attempts
    assert attempt.cause is not None
    assert (attempt.cause.stage, attempt.cause.profile_key) == ("root file system", "fstab.by_uuid: true")
    assert [moment.boot for moment in attempt.events] == [1, 1, 1, 2]
