"""The folder of a launch: gone with it, and what a killed run left goes with the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from imgfix.launchdir import LaunchDir

KILLED = """
import os, signal, sys
from imgfix.launchdir import LaunchDir
folder = LaunchDir()
folder.note_sockets(f"qemu\\0-chardev\\0socket,path={sys.argv[1]}/guestfsd.sock,id=channel0".encode())
(folder.path / "libguestfs").mkdir()
print(folder.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files."""
    home = tmp_path / "tmp"
    home.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    return home


def _killed(home: Path, sockets: Path) -> Path:
    argv = (sys.executable, "-c", KILLED, str(sockets))
    environment = {**os.environ, "TMPDIR": str(home)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return Path(done.stdout.strip())


def test_it_is_private_and_goes_with_the_launch(home: Path) -> None:
    folder = LaunchDir()
    (folder.path / "pid").write_text("1")
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.remove()
    folder.remove()
    assert list(home.iterdir()) == []


def test_what_a_killed_run_left_goes_with_the_next_launch(home: Path, tmp_path: Path) -> None:
    sockets = tmp_path / "libguestfsAbC123"
    sockets.mkdir()
    (sockets / "guestfsd.sock").touch()
    left = _killed(home, sockets)
    assert left.is_dir()
    folder = LaunchDir()
    assert list(home.iterdir()) == [folder.path]
    assert not sockets.exists()
    folder.remove()


def test_a_launch_at_work_and_folders_of_others_stay(home: Path) -> None:
    at_work = LaunchDir()
    (home / "imgfix-other").mkdir()
    (home / "elsewhere").mkdir()
    (home / "imgfix-launch-link").symlink_to(home / "elsewhere")
    second = LaunchDir()
    names = {path.name for path in home.iterdir()}
    assert names == {at_work.path.name, second.path.name, "imgfix-other", "elsewhere", "imgfix-launch-link"}
    at_work.remove()
    second.remove()


def test_only_a_folder_of_sockets_is_noted(home: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    _killed(home, precious)
    LaunchDir().remove()
    assert precious.is_dir()
