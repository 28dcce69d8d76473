"""Bad input that is refused before an appliance is needed: exit code, one clear message, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.guests.workshop import USER, Run, imgfix

MIB = 1 << 20


def refused(run: Run, status: int, *words: str) -> None:
    """The run failed with `status` and one message that holds `words`, without a traceback."""
    assert run.status == status, run.stderr
    assert run.stderr.count("error:") == 1, run.stderr
    assert "Traceback" not in run.stderr
    for word in words:
        assert word in run.stderr, run.stderr
    assert run.launches == 0


def nothing_but(folder: Path, *names: str) -> None:
    """Nothing was left in `folder` besides `names`."""
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder of its own for the disk and its output; the run's files are elsewhere."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def gpt_disk(path: Path, mib: int = 64) -> None:
    """A partitioned disk with nothing on it."""
    with path.open("wb") as stream:
        stream.truncate(mib * MIB)
    subprocess.run(("sgdisk", "-n", f"1:1M:{mib - 2}M", str(path)), check=True, capture_output=True)


def test_a_missing_file(work: Path, tmp_path: Path) -> None:
    run = imgfix("apply", "debian", work / "none.raw", folder=tmp_path / "run")
    refused(run, 2, "none.raw")
    nothing_but(work)


def test_a_folder(work: Path, tmp_path: Path) -> None:
    refused(imgfix("apply", "debian", work, folder=tmp_path / "run"), 2, str(work), "folder")


def test_an_empty_file(work: Path, tmp_path: Path) -> None:
    (work / "d.raw").touch()
    refused(imgfix("apply", "debian", work / "d.raw", folder=tmp_path / "run"), 3, "d.raw", "empty")
    nothing_but(work, "d.raw")


def test_a_blank_disk(work: Path, tmp_path: Path) -> None:
    with (work / "d.raw").open("wb") as stream:
        stream.truncate(64 * MIB)
    refused(imgfix("apply", "debian", work / "d.raw", folder=tmp_path / "run"), 3, "d.raw", "blank")
    nothing_but(work, "d.raw")


def test_a_truncated_disk_says_both_sizes(work: Path, tmp_path: Path) -> None:
    gpt_disk(work / "d.raw")
    with (work / "d.raw").open("r+b") as stream:
        stream.truncate(32 * MIB)
    run = imgfix("apply", "debian", work / "d.raw", folder=tmp_path / "run")
    refused(run, 3, "d.raw", str(32 * MIB))
    nothing_but(work, "d.raw")


def test_another_format_comes_with_the_command_that_converts_it(work: Path, tmp_path: Path) -> None:
    subprocess.run(("qemu-img", "create", "-q", "-f", "qed", str(work / "d.raw"), "64M"), check=True)
    refused(imgfix("apply", "debian", work / "d.raw", folder=tmp_path / "run"), 3, "QED", "qemu-img convert")
    nothing_but(work, "d.raw")


@pytest.mark.parametrize("command", ["apply debian", "inspect", "convert"])
def test_an_overlay_is_refused_before_its_backing_file_is_opened(
    work: Path, tmp_path: Path, command: str
) -> None:
    gpt_disk(work / "base.raw")
    argv = ("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(work / "base.raw"), "-F", "raw")
    subprocess.run((*argv, str(work / "d.qcow2")), check=True)
    (work / "base.raw").unlink()
    more = [work / "out.vhd"] if command == "convert" else []
    run = imgfix(*command.split(), work / "d.qcow2", *more, folder=tmp_path / "run")
    refused(run, 3, "d.qcow2", "backing file", "base.raw")
    nothing_but(work, "d.qcow2")


def test_a_disk_that_imitates_another_format_needs_a_word(work: Path, tmp_path: Path) -> None:
    gpt_disk(work / "d.raw")
    with (work / "d.raw").open("r+b") as stream:
        stream.write(b"QFI\xfb")
    run = imgfix("convert", work / "d.raw", work / "d.vhd", folder=tmp_path / "run")
    refused(run, 3, "imitation", "--format raw")
    run = imgfix("convert", "--format", "raw", work / "d.raw", work / "d.vhd", folder=tmp_path / "run")
    assert run.status == 0, run.stderr
    nothing_but(work, "d.raw", "d.vhd")


def test_an_unknown_profile_names_the_known_ones(work: Path, tmp_path: Path) -> None:
    gpt_disk(work / "d.raw")
    refused(
        imgfix("apply", "debain", work / "d.raw", folder=tmp_path / "run"), 2, "debain", "did you mean debian"
    )
    nothing_but(work, "d.raw")


def test_a_duplicate_key_is_shown_with_its_line(work: Path, tmp_path: Path) -> None:
    gpt_disk(work / "d.raw")
    profile = work / "mine.yaml"
    profile.write_text("extends: debian\nswap:\n  remove: true\n  remove: false\n")
    run = imgfix("apply", profile, work / "d.raw", folder=tmp_path / "run")
    refused(run, 2, f"{profile}:4:3: swap.remove", "duplicate", "line 3")
    nothing_but(work, "d.raw", "mine.yaml")


def test_the_disk_given_as_the_profile(work: Path, tmp_path: Path) -> None:
    gpt_disk(work / "d.raw")
    refused(imgfix("apply", work / "d.raw", "debian", folder=tmp_path / "run"), 2, "d.raw", "PROFILE DISK")


@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_an_unreadable_image(tmp_path: Path, mode: int) -> None:
    """The file in a folder open to all, and in one that is closed to the user."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        work = Path(name)
        work.chmod(mode)
        gpt_disk(work / "d.raw")
        (work / "d.raw").chmod(0)
        run = imgfix("apply", "debian", work / "d.raw", folder=tmp_path / "run", user=USER)
        refused(run, 4, "d.raw", "ermission")
        nothing_but(work, "d.raw")


def test_an_existing_output_is_kept(work: Path, tmp_path: Path) -> None:
    gpt_disk(work / "d.raw")
    (work / "d.vhd").write_text("precious")
    refused(imgfix("apply", "debian", work / "d.raw", folder=tmp_path / "run"), 2, "d.vhd", "--force")
    assert (work / "d.vhd").read_text() == "precious"
    nothing_but(work, "d.raw", "d.vhd")


def test_the_source_as_the_output(work: Path, tmp_path: Path) -> None:
    gpt_disk(work / "d.raw")
    run = imgfix("apply", "debian", work / "d.raw", "-o", work / "d.raw", "--force", folder=tmp_path / "run")
    refused(run, 2, "d.raw")
    nothing_but(work, "d.raw")


def test_no_space_for_the_output_says_both_numbers(work: Path, tmp_path: Path) -> None:
    disk = work / "d.raw"
    gpt_disk(disk, 256)
    with disk.open("r+b") as stream:
        stream.seek(2 * MIB)
        stream.write(os.urandom(MIB) * 200)
    script = f'mount -t tmpfs -o size=100m none {work}/small && exec "$@"'
    (work / "small").mkdir()
    run = imgfix(
        "apply", "debian", disk, "-o", work / "small" / "d.vhd", folder=tmp_path / "run", within=script
    )
    refused(run, 4, "MiB", "small")
    nothing_but(work / "small")


def test_an_unknown_setting(work: Path, tmp_path: Path) -> None:
    gpt_disk(work / "d.raw")
    run = imgfix("apply", "debian", work / "d.raw", "--set", "swap.sizes=3", folder=tmp_path / "run")
    refused(run, 2, "--set swap.sizes=3", "unknown key")


def test_the_profile_sets_the_limits_of_the_disk(work: Path, tmp_path: Path) -> None:
    disk = work / "d.raw"
    gpt_disk(disk)
    for setting, size in (("disk.gen1_max_gib=1", 2048 * MIB), ("disk.min_mib=65", 64 * MIB)):
        with disk.open("r+b") as stream:
            stream.truncate(size)
        run = imgfix("apply", "debian", disk, "--set", setting, folder=tmp_path / "run")
        refused(run, 3, str(size), "Azure takes")
        nothing_but(work, "d.raw")
