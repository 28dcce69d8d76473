"""check, verify and the dry run by the real command line, as far as no appliance is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _imgfix(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = (sys.executable, "-m", "imgfix", *arguments)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("check",), 2, "Missing argument '[PROFILE] DISK'"),
        (("check", "a", "b", "c"), 2, "one PROFILE and one DISK, here are 3 arguments"),
        (("check", "none.raw"), 2, "none.raw: there is no such file"),
        (("check", "nope", "blank.raw"), 2, "nope"),
        (("check", "blank.raw"), 3, "the disk is blank"),
        (("verify", "blank.raw"), 6, "the disk is blank"),
        (("verify", "cut.vhd"), 6, "there is no VHD footer at the end of the file"),
        (("verify", "text.md"), 6, "text.md: this is a raw disk image, and a fixed VHD is needed here"),
        (("verify", "none.vhd"), 2, "none.vhd: there is no such file"),
        (("apply", "debian", "blank.raw", "--diff"), 2, "--diff shows what --dry-run finds: give both"),
        (("check", "rhel"), 2, "rhel is a profile; the disk is missing: check rhel DISK"),
        (
            ("apply", "debian", "blank.raw", "--dry-run", "--report", "r.json"),
            2,
            "for programs by `check --json`",
        ),
        (("apply", "debian", "blank.raw", "--dry-run", "--rehearse"), 2, "--dry-run makes nothing"),
        (("apply", "debian", "blank.raw", "--dry-run"), 3, "the disk is blank"),
    ],
)
def test_refused(tmp_path: Path, arguments: tuple[str, ...], status: int, told: str) -> None:
    (tmp_path / "blank.raw").write_bytes(bytes(1 << 20))
    (tmp_path / "cut.vhd").write_bytes(b"\x55\xaa" * (1 << 19))
    (tmp_path / "text.md").write_text("text\n" * 9999)
    done = _imgfix(tmp_path, *arguments)
    assert done.returncode == status, done.stderr
    assert told in done.stderr
    assert done.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blank.raw", "cut.vhd", "text.md"]


def test_a_reader_that_leaves_changes_no_exit_code() -> None:
    """As `imgfix check DISK | head -1` does, by what prints it; the lines are more than a pipe holds."""
    program = (
        "import sys\n"
        "from imgfix.console import readers_may_leave\n"
        "with readers_may_leave():\n"
        "    print('line\\n' * 100000)\n"
        "sys.exit(6)\n"
    )
    argv = (sys.executable, "-c", program)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(5)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 6
