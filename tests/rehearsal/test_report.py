"""A report of a rehearsal: what cannot be written is refused before anything boots."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from imgfix.errors import UsageError
from imgfix.rehearsal import report
from tests.disk.disks import ordinary_user


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
