"""A report of a rehearsal: what cannot be written is refused before anything boots."""

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
from imgfix.rehearsal.questions import Answer
from imgfix.rehearsal.rehearse import Attempt, Request, Result
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
