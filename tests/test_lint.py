"""Format, lint and types are tests, so that scripts/test alone tells whether a change is fit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def _run(*argv: str) -> None:
    """Run a command in the checkout; its whole output is the failure's message."""
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}\n{done.stdout}{done.stderr}"


def _is_bash(path: Path) -> bool:
    return path.suffix == ".sh" or (b"bash" in path.read_bytes().partition(b"\n")[0])


def _shell_scripts() -> tuple[str, ...]:
    """Return every bash script of the checkout, relative to it."""
    files = [f for folder in ("scripts", ".ci") for f in sorted((ROOT / folder).rglob("*")) if f.is_file()]
    return tuple(str(f.relative_to(ROOT)) for f in files if _is_bash(f))


def test_ruff_format() -> None:
    _run(sys.executable, "-m", "ruff", "format", "--check", ".")


def test_ruff_check() -> None:
    _run(sys.executable, "-m", "ruff", "check", ".")


def test_mypy() -> None:
    _run(sys.executable, "-m", "mypy")


def test_shellcheck() -> None:
    assert shutil.which("shellcheck"), "shellcheck is not installed; scripts/test installs it"
    _run("shellcheck", "-x", *_shell_scripts())


@pytest.mark.parametrize("name", ["scripts/imgfix", "scripts/test", "scripts/check", ".ci/run"])
def test_script_is_executable(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)
