"""Writing reports: whole or not at all, and refused before the work where that can be known."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imgfix.errors import HostError, ImgfixError, UsageError
from imgfix.reports.write import require_writable, write
from tests.reports import sample


@pytest.mark.parametrize(
    ("name", "begin"), [("r.json", "{"), ("r.html", "<!doctype"), ("R.HTML", "<!doctype")]
)
def test_the_name_says_the_form(tmp_path: Path, name: str, begin: str) -> None:
    (tmp_path / name).write_text("old")
    umask = os.umask(0o027)
    try:
        write(sample.report(sample.diary()), tmp_path / name)
    finally:
        os.umask(umask)
    assert (tmp_path / name).read_text().startswith(begin)
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_report_through_a_link_replaces_the_file_behind_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "r.json").symlink_to("real/r.json")
    write(sample.report(sample.diary()), tmp_path / "r.json")
    assert json.loads((tmp_path / "real/r.json").read_text())["outcome"] == "ready"
    assert (tmp_path / "r.json").is_symlink()


def test_a_full_disk_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r.json").write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HostError, match="no space for writing the report"):
        write(sample.report(sample.diary()), tmp_path / "r.json")
    assert (tmp_path / "r.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda folder: folder / "r.txt", UsageError, ".json or .html"),
        (lambda folder: folder / "none/r.json", UsageError, "no such folder"),
        (lambda folder: folder / "dir.json", UsageError, "not a regular file"),
        (lambda folder: folder / "disk.json", UsageError, "would replace the disk"),
        (lambda folder: folder / "link.json", UsageError, "would replace the disk"),
    ],
)
def test_what_cannot_be_written_is_refused_first(
    tmp_path: Path, make: Callable[[Path], Path], kind: type[ImgfixError], message: str
) -> None:
    (tmp_path / "dir.json").mkdir()
    disk = tmp_path / "disk.json"
    disk.write_text("")
    (tmp_path / "link.json").hardlink_to(disk)
    with pytest.raises(kind, match=message):
        require_writable([make(tmp_path)], [disk])
