"""Leases: one holder at a time, whatever becomes of it; on this machine by the lock, on others by age."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from imgfix.batch import lease
from imgfix.batch.lease import Holder, Lease
from tests.guests.workshop import ROOT

_TAKE = """
import sys, time
from pathlib import Path
from imgfix.batch import lease
taken = lease.take(Path(sys.argv[1]))
print(type(taken).__name__, flush=True)
time.sleep(float(sys.argv[2]))
"""
ELSEWHERE = Holder(host="other", pid=7, boot="another boot", token="theirs")


def other(path: Path, seconds: float) -> subprocess.Popen[str]:
    """Start a process that takes the lease and keeps it for so long."""
    argv = (sys.executable, "-c", _TAKE, str(path), str(seconds))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen[str]) -> str:
    """What it got."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def taken(path: Path, ttl: float = lease.TTL) -> Lease:
    """Take a lease that is free."""
    held = lease.take(path, ttl)
    assert isinstance(held, Lease)
    return held


def test_one_of_many_gets_it_and_a_killed_holder_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "l"
    processes = [other(path, 60) for _ in range(4)]
    answers = [answer(process) for process in processes]
    assert sorted(answers) == ["Holder", "Holder", "Holder", "Lease"]
    winner = processes[answers.index("Lease")]
    held = lease.take(path)
    assert isinstance(held, Holder)
    assert held.pid == winner.pid
    winner.send_signal(signal.SIGKILL)
    winner.wait()
    taken(path).release()
    assert not path.exists()
    for process in processes:
        process.kill()
        process.communicate()


def test_who_looks_at_a_lease_before_it_is_written_takes_it_from_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "l"
    real = lease._open

    def looked_at(path: Path) -> tuple[int, bool]:
        fd, fresh = real(path)
        looker = os.open(path, os.O_RDWR)
        fcntl.flock(looker, fcntl.LOCK_EX)
        threading.Timer(0.1, os.close, (looker,)).start()
        return fd, fresh

    monkeypatch.setattr(lease, "_open", looked_at)
    taken(path).release()


def test_a_lease_of_another_machine_counts_until_it_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_SETTLE", 0.0)
    path = tmp_path / "l"
    path.write_text(ELSEWHERE.model_dump_json())
    assert lease.take(path) == ELSEWHERE
    path.write_text("")  # created, and not yet written
    assert isinstance(lease.take(path), Holder)
    path.write_text(ELSEWHERE.model_dump_json())
    old = time.time() - lease.TTL - 5
    os.utime(path, (old, old))
    held = taken(path)
    assert held.renew()
    assert time.time() - path.stat().st_mtime < 60
    held.release()
    assert list(tmp_path.iterdir()) == []


def test_of_two_machines_that_take_an_old_lease_the_last_writer_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "l"
    path.write_text(ELSEWHERE.model_dump_json())
    os.utime(path, (1, 1))
    later = ELSEWHERE.model_copy(update={"token": "later"})
    # the other machine writes while this one waits to see who has it
    monkeypatch.setattr("time.sleep", lambda _: path.write_text(later.model_dump_json()))
    assert lease.take(path) == later


def test_a_lost_lease_is_noticed_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "l"
    held = taken(path)
    path.write_text(ELSEWHERE.model_dump_json())
    assert not held.renew()
    held.release()
    assert Holder.model_validate_json(path.read_bytes()) == ELSEWHERE
    path.unlink()
    held = taken(path)
    path.unlink()
    assert not held.renew()
    held.release()
