"""Real applies: a batch killed half-way, and a rerun whose QEMU is killed: nothing is lost, or done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imgfix.disk.vhd import FOOTER_SIZE
from tests.disks import crowd
from tests.guests.workshop import ROOT, sha256
from tests.schema import require_fit

pytestmark = [pytest.mark.appliance, pytest.mark.xdist_group("batch")]

MANIFEST = f"profile: auto\noutput: out\ndefaults: {{set: {{{crowd.SETTINGS}}}}}\nimages: ['in/*.raw']\n"


@contextmanager
def batch(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the batch of `folder`, one image at a time."""
    argv = (sys.executable, "-m", "imgfix", "batch", str(folder / "m.yaml"), "--jobs", "1")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp")}
    environment.setdefault("LIBGUESTFS_CACHEDIR", "/var/tmp")
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def events(process: subprocess.Popen[str]) -> Iterator[tuple[str, str, str]]:
    """Yield what the batch tells as it does: event, image, text."""
    assert process.stdout is not None
    for line in process.stdout:
        told = json.loads(line)
        require_fit("batch-line", told)
        yield told["event"], told["image"].removesuffix(".vhd"), told.get("text", "")


def until(process: subprocess.Popen[str], event: str, image: str, text: str = "") -> list[tuple[str, str]]:
    """Read on until this is told; returns all that was told, without the texts."""
    seen = []
    for kind, name, said in events(process):
        seen.append((kind, name))
        if (kind, name) == (event, image) and text in said:
            return seen
    raise AssertionError(seen)


def processes_of(folder: Path) -> dict[int, str]:
    """The processes whose command line names `folder`."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            found[int(path.parent.name)] = line
    return found


def all_gone(folder: Path) -> None:
    """Wait until nothing of the killed batch runs."""
    for _ in range(300):
        if not processes_of(folder):
            return
        time.sleep(0.1)
    raise AssertionError(processes_of(folder))


def test_killed_half_way_the_rest_is_done_and_a_killed_qemu_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    disks = crowd.good(folder / "in", 2)
    (folder / "in/zero.raw").write_bytes(bytes(1 << 20))
    (folder / "m.yaml").write_text(MANIFEST)
    (folder / "tmp").mkdir()
    before = [sha256(disk) for disk in disks]

    with batch(folder) as killed:
        until(killed, "phase", "rhel1", "starting the appliance")
        killed.send_signal(signal.SIGKILL)
    all_gone(folder)
    first = folder / "out/debian0.vhd"
    assert [path.name for path in (folder / "out").iterdir() if path.is_file()] == ["debian0.vhd"]
    stamp = first.stat()

    with batch(folder) as again:
        assert until(again, "phase", "rhel1", "reading the guest")[0] == ("skipped", "debian0")
        (qemu,) = (
            pid for pid, line in processes_of(folder).items() if "guestfsd.sock" in line and "qemu" in line
        )
        os.kill(qemu, signal.SIGKILL)
        rest = [(kind, name) for kind, name, _ in events(again) if kind != "phase"]
        assert again.wait() == 7
    assert rest == [
        *(("retry", "rhel1"), ("begin", "zero"), ("end", "zero"), ("begin", "rhel1"), ("end", "rhel1")),
    ]
    results = {
        path.stem: json.loads(path.read_text()) for path in (folder / "out/imgfix-batch").glob("*.json")
    }
    for result in results.values():
        require_fit("batch-result", result)
    assert {name: (r["state"], len(r["attempts"])) for name, r in results.items()} == {
        "debian0.vhd": ("done", 1),
        "rhel1.vhd": ("done", 2),
        "zero.vhd": ("failed", 1),
    }
    assert first.stat() == stamp, "done once, and never touched again"
    assert (folder / "out/rhel1.vhd").stat().st_size == disks[1].stat().st_size + FOOTER_SIZE
    assert [sha256(disk) for disk in disks] == before
    assert results["rhel1.vhd"]["verdict"].startswith("ready: AlmaLinux 9.4")
    assert list((folder / "tmp").iterdir()) == []
    assert list((folder / "out").rglob(".*")) == []
    all_gone(folder)
