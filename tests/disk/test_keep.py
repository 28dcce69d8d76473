"""Keeping the work copy of a failed apply under a name that nothing has."""

from __future__ import annotations

from pathlib import Path

from imgfix.disk.keep import keep


def test_nothing_that_is_there_is_replaced(tmp_path: Path) -> None:
    work, output = tmp_path / ".d.vhd.partial", tmp_path / "d.vhd"
    work.write_bytes(b"new")
    (tmp_path / "d.failed.raw").symlink_to("nowhere")
    (tmp_path / "d.failed-2.raw").write_bytes(b"old")
    kept = keep(work, output)
    work.unlink()
    assert kept.name == "d.failed-3.raw"
    assert kept.read_bytes() == b"new"
    assert (tmp_path / "d.failed-2.raw").read_bytes() == b"old"
