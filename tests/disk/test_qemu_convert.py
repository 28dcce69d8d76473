"""The one `qemu-img convert`: what it is told, what is said when it fails, and that it outlives nobody."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imgfix.disk.source import open_source
from imgfix.disk.workcopy import WorkCopy
from imgfix.errors import HostError, ImageError
from tests.disk.disks import MIB, mbr_disk, run
from tests.disk.emit import convert, left_in, refusal
from tests.disk.images import image, raw_disk

_ENOSPC = 'mount -t tmpfs -o size=2m none "$1" && shift && exec "$@"'


@pytest.fixture
def qcow2(tmp_path: Path) -> Path:
    """A compressed one: what is not compressed imgfix copies itself."""
    return image("qcow2-packed", raw_disk(tmp_path / "disk.raw", 9 * MIB, "stripes"), tmp_path / "in.qcow2")


def _tool(folder: Path, script: str) -> Path:
    tools = folder / "tools"
    tools.mkdir()
    (tools / "qemu-img").write_text(f"#!/bin/sh\n{script}\n")
    (tools / "qemu-img").chmod(0o755)
    return tools


def test_progress_ends_at_the_whole(qcow2: Path, out: Path) -> None:
    seen: list[tuple[int, int]] = []
    source = open_source(qcow2, blank=True)
    with WorkCopy.create(source, out, progress=lambda done, total: seen.append((done, total))):
        pass
    assert source.image is not None
    assert seen[-1] == (source.image.allocated, source.image.allocated)
    assert all(done <= total for done, total in seen)


def test_every_driver_is_named(
    qcow2: Path, out: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = run("sh", "-c", "command -v qemu-img").strip()
    tools = _tool(tmp_path, f'[ "$1" = --version ] || printf "%s\\n" "$@" >{tmp_path}/argv\nexec {real} "$@"')
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    convert(open_source(qcow2, blank=True), out)
    argv = (tmp_path / "argv").read_text().splitlines()
    assert argv[:4] == ["convert", "-p", "-O", "raw"]
    node = json.loads(argv[4].removeprefix("json:"))
    assert node == {
        "driver": "qcow2",
        "backing": None,
        "file": {"driver": "file", "filename": str(qcow2)},
    }


@pytest.mark.parametrize("version", ["2.2.1", "2.5.0"])
def test_known_bad_qemu_img(
    qcow2: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    source = open_source(qcow2, blank=True)
    monkeypatch.setenv("PATH", f"{_tool(tmp_path, f'echo qemu-img version {version}')}:/bin:/usr/bin")
    error = refusal(source, out)
    assert isinstance(error, HostError)
    assert version in error.message


def test_its_own_words_are_told(
    qcow2: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(qcow2, blank=True)
    script = '[ "$1" = --version ] && echo qemu-img version 7.2.0 && exit\necho it is broken >&2; exit 3'
    monkeypatch.setenv("PATH", f"{_tool(tmp_path, script)}:/bin:/usr/bin")
    error = refusal(source, out)
    assert isinstance(error, HostError)
    assert "failed (3): it is broken" in error.message


def test_no_qemu_img_at_all(qcow2: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(qcow2, blank=True)
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert "not installed" in refusal(source, out).message


def test_not_enough_space_says_both_numbers(qcow2: Path, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    script = (
        "import sys; from pathlib import Path; from imgfix.errors import HostError\n"
        "from imgfix.disk.source import open_source; from tests.disk.emit import refusal\n"
        "error = refusal(open_source(Path(sys.argv[1]), blank=True), Path(sys.argv[2]))\n"
        "assert isinstance(error, HostError); print(error.message)"
    )
    within = ("unshare", "--mount", "--map-root-user", "sh", "-c", _ENOSPC, "sh", tmp_path / "small")
    said = run(*within, sys.executable, "-c", script, qcow2, tmp_path / "small" / "out.vhd")
    assert "2 MiB (2097152 bytes) free" in said
    assert "needed" in said


def test_space_that_runs_out_in_the_middle(
    qcow2: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(qcow2, blank=True)
    script = (
        '[ "$1" = --version ] && echo qemu-img version 7.2.0 && exit\n'
        'echo "qemu-img: error while writing at byte 4096: No space left on device" >&2; exit 1'
    )
    monkeypatch.setenv("PATH", f"{_tool(tmp_path, script)}:/bin:/usr/bin")
    error = refusal(source, out)
    assert "no space for the work copy" in error.message
    assert "free" in error.message
    assert "needed" in error.message


@pytest.mark.parametrize("kind", ["raw", "vhdx", "qcow2-packed", "ova"])
def test_an_image_in_use(tmp_path: Path, out: Path, kind: str) -> None:
    path = image(kind, raw_disk(tmp_path / "disk.raw", 2 * MIB, "edges"), tmp_path / "in.img")
    argv = [sys.executable, "-c", _CONVERT, str(path), str(out)]
    with path.open("r+b") as stream:
        # What QEMU holds of an image that it may write to (block/file-posix.c, RAW_LOCK_PERM_BASE, BLK_PERM_WRITE).
        fcntl.lockf(stream, fcntl.LOCK_SH, 1, 101)
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert "another process has it open for writing" in done.stderr, done.stderr
        assert left_in(out.parent) == []
    assert subprocess.run(argv, check=False).returncode == 0


@pytest.mark.appliance
def test_a_disk_of_a_running_machine(tmp_path: Path, out: Path) -> None:
    """QEMU itself holds the lock."""
    disk = mbr_disk(tmp_path / "d.raw")
    argv = ("qemu-system-x86_64", "-S", "-display", "none", "-nodefaults", "-qmp", "stdio")
    drive = ("-drive", f"file={disk},format=raw,if=none,id=d", "-device", "virtio-blk-pci,drive=d")
    with subprocess.Popen((*argv, *drive), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as machine:
        try:
            assert machine.stdin is not None
            assert machine.stdout is not None
            # It greets before it has its disk, and answers afterwards.
            machine.stdin.write(b'{"execute": "qmp_capabilities"}')
            machine.stdin.flush()
            assert b"QMP" in machine.stdout.readline()
            assert b"return" in machine.stdout.readline()
            assert "another process" in refusal(open_source(disk), out).message
        finally:
            machine.kill()
    convert(open_source(disk), out)


_CONVERT = (
    "import sys; from pathlib import Path; from imgfix.disk.source import open_source\n"
    "from tests.disk.emit import convert\n"
    "convert(open_source(Path(sys.argv[1]), blank=True), Path(sys.argv[2]))"
)


def test_an_extent_that_changes_meanwhile(tmp_path: Path, out: Path) -> None:
    path = image("vmdk-flat", raw_disk(tmp_path / "disk.raw", 2 * MIB, "edges"), tmp_path / "in.vmdk")
    source = open_source(path, blank=True)
    with (tmp_path / "in-flat.vmdk").open("r+b") as stream:
        stream.write(b"x")
    error = refusal(source, out)
    assert isinstance(error, ImageError)
    assert "in-flat.vmdk: changed while it was in use" in error.message


def test_it_dies_with_imgfix(qcow2: Path, tmp_path: Path, out: Path) -> None:
    script = (
        '[ "$1" = --version ] && echo qemu-img version 7.2.0 && exit\n'
        f"echo $$ >{tmp_path}/pid; exec sleep 100"
    )
    env = {**os.environ, "PATH": f"{_tool(tmp_path, script)}:{os.environ['PATH']}"}
    running = subprocess.Popen([sys.executable, "-c", _CONVERT, str(qcow2), str(out)], env=env)
    try:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            assert running.poll() is None
            time.sleep(0.02)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    pid = int((tmp_path / "pid").read_text())
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        time.sleep(0.02)
    # What a killed run left behind is taken over by the next.
    convert(open_source(qcow2, blank=True), out)
    assert left_in(out.parent) == [out.name]
