"""Folders that are locked while in use; with what is in them: tests/test_launchdir.py, tests/test_host_chroot.py."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from imgfix import runfolder


def test_one_that_another_run_took_for_stale_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, made = tempfile.mkdtemp, []

    def taken_away(prefix: str, dir: Path) -> str:
        name = real(prefix=prefix, dir=dir)
        made.append(Path(name))
        if len(made) == 1:
            runfolder.remove_stale(prefix, dir, (os.geteuid(),), Path.rmdir)
        return name

    monkeypatch.setattr(tempfile, "mkdtemp", taken_away)
    path, lock = runfolder.make("run-", tmp_path)
    assert made[1:] == [path]
    assert list(tmp_path.iterdir()) == [path]
    runfolder.remove_stale("run-", tmp_path, (os.geteuid(),), Path.rmdir)
    assert path.is_dir()
    os.close(lock)
    runfolder.remove_stale("run-", tmp_path, (os.geteuid() + 1,), Path.rmdir)
    assert path.is_dir()
    runfolder.remove_stale("run-", tmp_path, (os.geteuid(),), Path.rmdir)
    assert not path.exists()
