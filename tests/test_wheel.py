"""The wheel carries everything that an installed imgfix needs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_carries_code_and_profiles(tmp_path: Path) -> None:
    argv = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path))
    subprocess.run(argv, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for profile in (ROOT / "profiles").glob("*.yaml"):
        assert f"imgfix/profiles/{profile.name}" in names
    for module in (ROOT / "imgfix").rglob("*.py"):
        assert str(module.relative_to(ROOT)) in names
    assert not [name for name in names if name.startswith("tests/")]


def test_an_installed_wheel_finds_its_profiles(tmp_path: Path) -> None:
    argv = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path))
    subprocess.run(argv, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    program = "from imgfix import profile_load as p; print(p.bundled_folder(), *p.bundled_names())"
    done = subprocess.run(
        (sys.executable, "-c", program),
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site")},
        check=True,
        capture_output=True,
        text=True,
    )
    folder, *found = done.stdout.split()
    assert folder == str(tmp_path / "site" / "imgfix" / "profiles")
    assert {"azure", "debian", "rhel"} <= set(found)
