"""Real .deb files, built by dpkg-deb, and apt's opinion of what is installed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path


def build(folder: Path, control: str, *, compressor: str = "gzip", name: str = "") -> Path:
    """Build a package with this control file and one file in it; returns its path."""
    fields = dict(line.split(": ", 1) for line in control.splitlines() if ": " in line)
    stem = name or f"{fields['Package']}_{fields['Version'].replace(':', '%3a')}_{fields['Architecture']}"
    root = folder / f"{stem}.d"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "usr/share").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(
        f"{control.strip()}\nMaintainer: t <t@example.com>\nDescription: t\n"
    )
    (root / "usr/share" / fields["Package"]).write_text("text\n" * 1000)
    target = folder / f"{stem}.deb"
    argv = ("dpkg-deb", "--root-owner-group", "--uniform-compression", f"-Z{compressor}", "-b", root, target)
    subprocess.run(argv, check=True, capture_output=True)
    return target


def apt(folder: Path, status: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run this host's apt-get, simulating only, as if `status` were its list of packages and no repository known."""
    for name in ("lists/partial", "archives/partial", "etc"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").write_text(status)
    settings = {
        "Dir::State": folder,
        "Dir::State::Lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder,
        "Dir::Etc": folder / "etc",
        "APT::Architecture": "amd64",
        "APT::Get::Show-User-Simulation-Note": "false",
    }
    argv = ["apt-get", "-s", *(f"-o{key}={value}" for key, value in settings.items()), *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def unmet(folder: Path, status: str) -> set[str]:
    """Return the names that apt finds unmet in the Depends of installed packages."""
    done = apt(folder, status, "check")
    return set(re.findall(r"Depends: ([^\s:]+)", done.stdout + done.stderr))


def installed(stanzas: Sequence[str]) -> str:
    """Return a status file with these control stanzas as installed."""
    return "".join(
        f"{s.strip()}\nStatus: install ok installed\nMaintainer: t\nDescription: t\n\n" for s in stanzas
    )
