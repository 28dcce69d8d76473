"""What only the appliance can tell to be bad, and being interrupted: clear words, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.guests.workshop import ROOT, Run, imgfix

pytestmark = [pytest.mark.appliance, pytest.mark.xdist_group("refused")]

MIB = 1 << 20
OS_RELEASE = 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 ({name})"\n'


def disk_of(path: Path, *trees: dict[str, str]) -> None:
    """Make a GPT disk with one ext4 partition a tree; a tree is path -> text."""
    size = 48
    with path.open("wb") as stream:
        stream.truncate((len(trees) * size + 4) * MIB)
    parts = [f"--new={n}:{1 + (n - 1) * size}M:+{size - 1}M" for n in range(1, len(trees) + 1)]
    subprocess.run(("sgdisk", *parts, str(path)), check=True, capture_output=True)
    for number, tree in enumerate(trees):
        root = path.parent / f"root{number}"
        root.mkdir()
        for name, text in tree.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        where = f"offset={(1 + number * size) * MIB}"
        argv = ("mkfs.ext4", "-q", "-F", "-d", str(root), "-E", where, str(path), f"{(size - 1) * 1024}k")
        subprocess.run(argv, check=True, capture_output=True)
        subprocess.run(("rm", "-r", str(root)), check=True)


def refused(run: Run, *words: str) -> None:
    """Exit 3, one message with `words`, after one launch."""
    assert run.status == 3, run.stderr
    assert run.stderr.count("error:") == 1
    assert run.launches == 1
    for word in words:
        assert word in run.stderr, run.stderr


def test_a_disk_without_linux_names_what_is_there(tmp_path: Path) -> None:
    disk = tmp_path / "d.raw"
    disk_of(disk, {"readme": "no system here\n"})
    refused(
        imgfix("apply", "debian", disk, folder=tmp_path / "run"), "no Linux installation", "/dev/sda1 ext4"
    )
    assert [p.name for p in tmp_path.iterdir() if p.name != "run"] == ["d.raw"]


def test_two_linux_installations_are_both_named(tmp_path: Path) -> None:
    disk = tmp_path / "d.raw"
    trees = [
        {"etc/os-release": OS_RELEASE.format(name=name), "etc/fstab": "", "usr/lib/x": ""}
        for name in ("one", "two")
    ]
    disk_of(disk, *trees)
    refused(
        imgfix("apply", "debian", disk, folder=tmp_path / "run"), "(one) on /dev/sda1", "(two) on /dev/sda2"
    )
    assert [p.name for p in tmp_path.iterdir() if p.name != "run"] == ["d.raw"]


def test_a_profile_for_another_family_is_refused_with_both_names(el9_disk: Path, tmp_path: Path) -> None:
    run = imgfix("apply", "debian", el9_disk, "-o", tmp_path / "o.vhd", folder=tmp_path / "run")
    refused(run, "debian", "AlmaLinux")
    assert not (tmp_path / "o.vhd").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_a_rebuild_leaves_nothing(
    el9_disk: Path, tmp_path: Path, number: signal.Signals
) -> None:
    command = (
        "apply",
        "rhel",
        str(el9_disk),
        "-o",
        str(tmp_path / "o.vhd"),
        "--set",
        "initramfs.method=rebuild",
    )
    argv = (sys.executable, "-m", "imgfix", *command)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    with subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        seen = ""
        while "rebuilding initramfs" not in seen:
            line = process.stderr.readline()
            assert line, seen
            seen += line
        time.sleep(3)  # now the guest's dracut runs
        process.send_signal(number)
        _, rest = process.communicate(timeout=120)
    assert process.returncode == 130, rest
    assert "interrupted" in rest
    assert [p.name for p in tmp_path.iterdir()] == ["tmp"]
    assert not [p for p in (tmp_path / "tmp").iterdir() if p.name.startswith("imgfix-")]
    assert not processes_with(str(tmp_path))


def processes_with(word: str) -> list[str]:
    """Return the command lines of running processes that hold `word`: an appliance of the killed run, say."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if word in line:
            found.append(line)
    return found


def test_no_network_stops_before_anything_is_published(tmp_path: Path) -> None:
    disk = tmp_path / "d.raw"
    tree = {
        "etc/os-release": OS_RELEASE.format(name="bare"),
        "etc/fstab": "",
        "usr/bin/apt-get": "",
        "var/lib/dpkg/status": "",
    }
    disk_of(disk, tree)
    run = imgfix("apply", "debian", disk, "--no-network", folder=tmp_path / "run")
    assert run.status == 5, run.stderr
    assert "waagent" in run.stderr
    assert "packages.missing=warn" in run.stderr
    assert run.launches == 1
    assert [p.name for p in tmp_path.iterdir() if p.name != "run"] == ["d.raw"]
