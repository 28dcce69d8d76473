"""Two Dask workers on loopback, one of them killed in the middle of an image: all done, nothing twice, nothing left."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.disks import crowd
from tests.guests.test_batch import MANIFEST, all_gone, processes_of
from tests.guests.workshop import ROOT, imgfix

#: In the group of the other batch: two workers take both places that scripts/test has for appliances.
pytestmark = [pytest.mark.appliance, pytest.mark.xdist_group("batch")]


@contextmanager
def dask(folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `dask WORDS`; it is ended at the end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    environment.setdefault("LIBGUESTFS_CACHEDIR", "/var/tmp")
    with (folder / f"{words[0]}.log").open("ab") as log:
        argv = (sys.executable, "-m", "dask", *words)
        process = subprocess.Popen(argv, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def until(true: str, condition: object) -> None:
    """Wait for `condition`, a call, to be so."""
    assert callable(condition)
    for _ in range(600):
        if condition():
            return
        time.sleep(0.2)
    raise AssertionError(true)


def working(folder: Path) -> dict[int, str]:
    """The applies that have an appliance, by the worker that began them."""
    lines = processes_of(folder / "in")
    parents = {}
    for pid, line in lines.items():
        if " apply " in line and (folder / "tmp").is_dir():
            status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            parents[int(status[1])] = line
    return parents


def test_a_killed_worker_costs_nothing_but_time(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    crowd.good(folder / "in", 2)
    (folder / "m.yaml").write_text(MANIFEST)
    (folder / "tmp").mkdir()
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    with ExitStack() as stack:
        serve = ("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        stack.enter_context(dask(tmp_path, *serve))
        common = (
            "--nthreads",
            "1",
            "--resources",
            "appliance=1",
            "--host",
            "127.0.0.1",
            "--no-dashboard",
            "--no-nanny",
        )
        workers = [stack.enter_context(dask(folder / "tmp", "worker", address, *common)) for _ in range(2)]
        log = tmp_path / "scheduler.log"
        until("two workers", lambda: log.read_text().count("Register worker") >= 2)
        batch = subprocess.Popen(
            (sys.executable, "-m", "imgfix", "batch", str(folder / "m.yaml"), "--engine", "dask",
             "--scheduler", address),
            env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        stack.callback(batch.kill)
        until("both work", lambda: {w.pid for w in workers} <= working(folder).keys())
        workers[0].send_signal(signal.SIGKILL)
        told = [json.loads(line) for line in batch.communicate(timeout=300)[0].splitlines()]
        assert batch.returncode == 0
    ends = [event for event in told if event["event"] == "end"]
    assert sorted((event["image"], event["state"]) for event in ends) == [
        ("debian0.vhd", "done"),
        ("rhel1.vhd", "done"),
    ]
    results = {
        path.stem: json.loads(path.read_text()) for path in (folder / "out/imgfix-batch").glob("*.json")
    }
    assert {name: (r["state"], len(r["attempts"])) for name, r in results.items()} == {
        "debian0.vhd": ("done", 1),
        "rhel1.vhd": ("done", 1),
    }
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "debian0.vhd",
        "imgfix-batch",
        "rhel1.vhd",
    ]
    assert not list((folder / "out").rglob(".*"))
    logs = [path.read_text().count("\nready: ") for path in (folder / "out/imgfix-batch").glob("*.log")]
    assert logs == [1, 1], "neither was done twice"
    all_gone(folder)


def test_what_dask_lacks_is_told(tmp_path: Path) -> None:
    crowd.bad(tmp_path)
    (tmp_path / "m.yaml").write_text("profile: auto\noutput: out\nimages: [blank.raw]\n")
    port = free_port()
    words = ("batch", tmp_path / "m.yaml", "--engine", "dask", "--scheduler", f"tcp://127.0.0.1:{port}")
    with dask(tmp_path, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"):
        run = imgfix(*words, folder=tmp_path / "run")
        assert run.status == 4, run.stderr
        assert "0 Dask workers, and none of them offers the resource `appliance`" in run.stderr
