"""A report of a rehearsal: refused before anything boots where it cannot be written; its time line and marked log."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest

from imgfix.accel import Accelerator, Verdict
from imgfix.errors import UsageError
from imgfix.rehearsal import report
from imgfix.rehearsal.diagnosis import Cause
from imgfix.rehearsal.events import Event, Kind, Stage
from imgfix.rehearsal.model import Finding, Moment, RehearsalReport, Try, Why
from imgfix.rehearsal.questions import Answer
from imgfix.rehearsal.rehearse import Attempt, Request, Result
from imgfix.reports import html, timeline
from tests.disk.disks import ordinary_user
from tests.schema import require_fit


def test_the_name_says_the_form(tmp_path: Path) -> None:
    report.require_writable(tmp_path / "r.json")
    report.require_writable(tmp_path / "r.html")
    with pytest.raises(UsageError, match=r"is \.json or \.html"):
        report.require_writable(tmp_path / "r.txt")


def test_a_folder_that_is_missing_closed_or_out_of_reach_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        report.require_writable(tmp_path / "none" / "r.json")
    folder = Path(tempfile.mkdtemp())
    try:
        (folder / "below").mkdir()
        folder.chmod(0o555)
        with ordinary_user(), pytest.raises(UsageError, match="no permission to write"):
            report.require_writable(folder / "r.json")
        folder.chmod(0)
        with ordinary_user(), pytest.raises(UsageError, match="does not exist"):
            report.require_writable(folder / "below" / "r.json")
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def _try(*, cause: Why | None = None) -> Try:
    log = (
        "GNU GRUB\n[    0.000000] Linux version 6.1\n<script>alert(1)</script>\n"
        "ALERT!  /dev/vda2 does not exist.  Dropping to a shell!\n(initramfs) "
    )
    events = (
        Moment(at=0.0, boot=1, kind="started", stage=None, text="Generation 1"),
        Moment(at=1.0, boot=1, kind="console", stage="boot loader", text="the boot loader runs"),
        Moment(at=10.0, boot=1, kind="console", stage="kernel", text="the kernel starts"),
        Moment(at=20.0, boot=1, kind="dead end", stage=None, text="it will not get further"),
        Moment(at=50.0, boot=1, kind="off", stage=None, text="the guest did not shut down"),
    )
    return Try(controller="ide", reached="kernel", arrived=cause is None, cause=cause, events=events,
               answers=(Finding(name="swap", ok=False, detail="<b>swap</b>", remedy="swap.remove: true"),),
               serial_log=log, second_serial_log="")  # fmt: skip


CAUSE = Why(name="root by disk name", stage="root file system", text="the root is /dev/vda2", remedy="a UUID",
            profile_key="fstab.by_uuid: true", line="ALERT!  /dev/vda2 does not exist.")  # fmt: skip


def _report(attempt: Try) -> RehearsalReport:
    return RehearsalReport(
        version=1, disk="/d<.vhd", generation=1, accelerator="tcg", passed=False, attempts=(attempt,)
    )


def test_the_time_line_goes_from_one_stage_to_the_next_and_ends_at_what_failed() -> None:
    rows = timeline.rows(_try(cause=CAUSE), 1)
    assert [(row.name, row.seconds, row.kind) for row in rows] == [
        ("boot loader", 1.0, "stage"),
        ("kernel", 10.0, "stage"),
        ("root file system", 20.0, "failed"),
    ]
    assert [row.line for row in rows] == [0, 1, None]
    assert rows[1].x == pytest.approx(rows[0].end)
    assert all(row.x >= 0 and row.end <= 1000 for row in rows)
    good = [row.name for row in timeline.rows(_try(), 1)]
    assert good == ["boot loader", "kernel", "off"]


def test_what_the_other_agent_does_behind_ready_is_no_stage_of_the_time_line() -> None:
    more = tuple(
        Moment(at=at, boot=1, kind=kind, stage=stage, text="")
        for at, kind, stage in (
            (30.0, "ready", "Ready"),
            (40.0, "not ready", "provisioning"),
            (45.0, "ssh", "SSH"),
        )
    )
    attempt = _try().model_copy(update={"events": _try().events + more})
    assert [row.name for row in timeline.rows(attempt, 1)] == ["boot loader", "kernel", "Ready", "SSH", "off"]


def test_the_page_marks_the_lines_that_tell_and_escapes_the_guest() -> None:
    page = html.rehearsal_page(_report(_try(cause=CAUSE)))
    assert "<script>" not in page
    assert "<b>swap" not in page
    assert "/d&lt;.vhd" in page
    assert '<mark id="boot1-line1" class="proof" title="kernel">' in page
    assert '<mark id="boot1-line3" class="symptom">ALERT!' in page
    assert 'href="#boot1-line1"' in page
    assert "It stops at: root file system" in page
    good = html.rehearsal_page(_report(_try()))
    assert 'class="symptom"' not in good  # a boot that arrived had no symptoms, whatever it printed


def test_json_is_what_the_schema_says(tmp_path: Path) -> None:
    cause = Cause(
        "no root",
        Stage.ROOT,
        "the root was not found",
        "add the driver",
        "initramfs.drivers",
        "\x1b[31mwarning",
    )
    events = (
        Event(1.5, Kind.CONSOLE, "Linux version 6", Stage.KERNEL),
        Event(2.0, Kind.CONSOLE, "\x1b]0;x\x07", None),
    )
    failed = Attempt("virtio-scsi", events, "Linux version 6\n", "", (), Stage.KERNEL, False, cause)
    passed = Attempt("ide", events, "", "", (Answer("swap", None, "none", ""),), Stage.SSH, True, None)
    result = Result(
        Request(Path("/exports/\udcff.vhd")), 2, Verdict(Accelerator.TCG, "no KVM"), (failed, passed)
    )
    report.write(tmp_path / "r.json", result)
    written = json.loads((tmp_path / "r.json").read_text())
    require_fit("rehearsal", written)
    assert (written["disk"], written["passed"]) == ("/exports/\\xff.vhd", True)
