"""However a rehearsal ends: no process, no namespace and no file is left, and the VHD is what it was."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guests.workshop import ROOT, USER
from tests.rehearsal.boot_sector import write_vhd
from tests.rehearsal.endings import processes

pytestmark = [pytest.mark.appliance, pytest.mark.xdist_group("rehearsal-endings")]

PANIC = "Linux version 6.1.0 (test)\nKernel panic - not syncing: planted\n"
#: Seconds for what has been killed to be gone.
PATIENCE = 20.0


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that another user can reach, which those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="imgfix-endings.", dir="/var/tmp") as name:
        yield Path(name)


class Bench:
    """A VHD and a temporary folder of one rehearsal, which its processes know it by."""

    def __init__(self, folder: Path, says: str) -> None:
        folder.chmod(0o755)
        self.vhd = folder / "guest.vhd"
        # Deep, as a socket's path may have only 107 bytes.
        self.temporary = folder / ("tmp-" + "x" * 90)
        self.temporary.mkdir()
        self.temporary.chmod(0o777)
        write_vhd(self.vhd, says)
        self.vhd.chmod(0o644)
        self.before = hashlib.sha256(self.vhd.read_bytes()).digest()

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Rehearse as an ordinary user."""
        argv = [sys.executable, "-m", "imgfix", "rehearse", str(self.vhd), "--generation", "1", *options]
        if os.geteuid() == 0:
            argv = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *argv]
        env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.temporary),
            "HOME": str(self.temporary),
        }
        return subprocess.Popen(
            argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/"
        )

    def processes(self) -> list[str]:
        """The rehearsal's processes."""
        return processes(self.temporary)

    def runs_a_guest(self) -> bool:
        """Tell whether QEMU is there."""
        return any("qemu-system" in line for line in self.processes())

    def is_as_it_was(self) -> None:
        """Nothing is left, the VHD is unchanged."""
        deadline = time.monotonic() + PATIENCE
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert self.processes() == []
        assert [path.name for path in self.temporary.rglob("*")] == []
        assert hashlib.sha256(self.vhd.read_bytes()).digest() == self.before

    def await_guest(self, process: subprocess.Popen[str]) -> None:
        """Wait for QEMU; a rehearsal that ends before it has none is told with what it said."""
        deadline = time.monotonic() + 60
        while not self.runs_a_guest():
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, self.processes()
            time.sleep(0.1)


def test_after_a_failure(folder: Path) -> None:
    bench = Bench(folder, PANIC)
    process = bench.start()
    said = process.communicate()[0]
    assert process.returncode == 6, said
    assert "the kernel panics: planted" in said
    bench.is_as_it_was()


def test_after_a_time_out(folder: Path) -> None:
    bench = Bench(folder, "")
    process = bench.start("--timeout", "3")
    said = process.communicate()[0]
    assert process.returncode == 6, said
    assert "not there after 3 s" in said
    assert "console=ttyS0" in said
    bench.is_as_it_was()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_after_a_signal(folder: Path, number: signal.Signals) -> None:
    bench = Bench(folder, "")
    process = bench.start()
    bench.await_guest(process)
    process.send_signal(number)
    said = process.communicate()[0]
    assert process.returncode == 130, said
    assert "Traceback" not in said
    bench.is_as_it_was()


def test_no_process_outlives_one_that_is_killed(folder: Path) -> None:
    bench = Bench(folder, "")
    process = bench.start()
    bench.await_guest(process)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + PATIENCE
    while bench.processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert bench.processes() == []
