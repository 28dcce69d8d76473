"""Real rpm packages, built by rpmbuild: small, with the relations that a test asks for."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Rpm:
    """One package to build; `evr` is [EPOCH:]VERSION-RELEASE, `lines` go into its preamble, `files` are made empty.

    `scripts` follow the files: `%post -n NAME` and its text.
    """

    name: str
    evr: str = "1-1"
    lines: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    architecture: str = "noarch"
    scripts: str = ""


_HEAD = "Name: imgfix-spec\nVersion: 1\nRelease: 1\nSummary: t\nLicense: MIT\n%description\nt\n"
_DEFINES = (
    "--define=__os_install_post %{nil}",
    "--define=debug_package %{nil}",
    "--define=_build_id_links none",
    "--define=_use_internal_dependency_generator 0",
    "--define=__find_requires %{nil}",
    "--define=__find_provides %{nil}",
)


def build(folder: Path, packages: Sequence[Rpm], defines: Sequence[str] = ()) -> list[Path]:
    """Build the packages into `folder`, one spec for all of an architecture; returns their files."""
    made: dict[str, Path] = {}
    for architecture in dict.fromkeys(p.architecture for p in packages):
        batch = [p for p in packages if p.architecture == architecture]
        spec = folder / f"{len(list(folder.iterdir()))}-{architecture}.spec"
        spec.write_text(_spec(batch))
        argv = ["rpmbuild", "-bb", f"--define=_topdir {folder}", f"--define=_rpmdir {folder}/rpms", *_DEFINES]
        argv += [*(f"--define={d}" for d in defines), "--nodeps", f"--target={architecture}", str(spec)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        for path in map(Path, re.findall(r"(?m)^Wrote: (.*)$", done.stdout + done.stderr)):
            made[path.name] = path
    # rpmbuild writes several at once, and tells each when it is done.
    return [made[f"{p.name}-{p.evr.rpartition(':')[2]}.{p.architecture}.rpm"] for p in packages]


def _spec(packages: Sequence[Rpm]) -> str:
    paths = sorted({path for package in packages for path in package.files})
    install = "".join(f"mkdir -p %{{buildroot}}$(dirname {p}); echo {p} > %{{buildroot}}{p}\n" for p in paths)
    return f"{_HEAD}%install\n{install}\n" + "\n".join(map(_section, packages))


def _section(package: Rpm) -> str:
    epoch, colon, rest = package.evr.rpartition(":")
    version, _, release = rest.partition("-")
    head = [f"%package -n {package.name}", *((f"Epoch: {epoch}",) if colon else ())]
    head += [f"Version: {version}", f"Release: {release}", f"Summary: {package.name}", *package.lines]
    body = [f"%description -n {package.name}", "t", f"%files -n {package.name}", *package.files]
    return "\n".join([*head, *body, package.scripts, ""])


def install(root: Path, files: Sequence[Path]) -> None:
    """Register the packages in the database of `root`; nothing is unpacked."""
    argv = [
        "rpm",
        f"--root={root}",
        "--dbpath=/var/lib/rpm",
        "-i",
        "--justdb",
        "--nodeps",
        "--noscripts",
        "--ignorearch",
        "--ignoreos",
    ]
    subprocess.run([*argv, "--force", *files], check=True, capture_output=True)


def database(root: Path) -> dict[str, bytes]:
    """Return the files of the database of `root`, by guest path."""
    folder = root / "var/lib/rpm"
    return {f"/var/lib/rpm/{path.name}": path.read_bytes() for path in folder.iterdir() if path.is_file()}


def refused(root: Path, files: Sequence[Path], *options: str) -> list[str]:
    """Return what rpm has against an upgrade by these files, a line each: `b >= 2 is needed by a-1-1.noarch`."""
    return _complaints(root, "-U", "--test", "--ignorearch", *options, *map(str, files))


def refused_removal(root: Path, names: Sequence[str]) -> list[str]:
    """Return what rpm has against the removal of these packages."""
    return _complaints(root, "-e", "--test", *names)


def _complaints(root: Path, *arguments: str) -> list[str]:
    argv = ["rpm", f"--root={root}", "--dbpath=/var/lib/rpm", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    # Debian's rpm recommends alien, whatever it is asked.
    lines = [line for line in done.stderr.splitlines() if not line.startswith("rpm: ")]
    assert (done.returncode == 0) == (not lines), done
    return [line.strip() for line in lines if not line.startswith("error: Failed dependencies")]
