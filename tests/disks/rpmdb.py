"""A real rpm database, filled from packages that are built empty but for the names of their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .host import run
from .root import Root


@dataclass(frozen=True, slots=True)
class Package:
    name: str
    evr: str  # [EPOCH:]VERSION-RELEASE
    files: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()


def _section(package: Package) -> str:
    epoch, colon, rest = package.evr.rpartition(":")
    version, _, release = rest.partition("-")
    lines = [
        f"%package -n {package.name}",
        *((f"Epoch: {epoch}",) if colon else ()),
        f"Version: {version}",
        f"Release: {release}",
        f"Summary: {package.name}",
        *(f"Provides: {name}" for name in package.provides),
        f"%description -n {package.name}",
        package.name,
        f"%files -n {package.name}",
        *package.files,
    ]
    return "\n".join(lines)


def _spec(packages: Sequence[Package]) -> str:
    head = "Name: imgfix-test-disk\nVersion: 1\nRelease: 1\nSummary: t\nLicense: MIT\n%description\nt\n%install\n"
    paths = sorted({path for package in packages for path in package.files})
    touched = "".join(
        f"mkdir -p %{{buildroot}}$(dirname {path}); touch %{{buildroot}}{path}\n" for path in paths
    )
    return head + touched + "\n" + "\n\n".join(map(_section, packages)) + "\n"


def _batches(packages: Sequence[Package]) -> list[list[Package]]:
    """Specs to build: one spec cannot hold two packages of a name, as two kernels are."""
    batches: list[list[Package]] = []
    for package in packages:
        for batch in batches:
            if package.name not in {other.name for other in batch}:
                batch.append(package)
                break
        else:
            batches.append([package])
    return batches


def fill(root: Root, packages: Sequence[Package], folder: Path) -> None:
    """Register the packages in the root's /var/lib/rpm/rpmdb.sqlite; no file of the root changes."""
    folder.mkdir()
    plain = [
        f"--define=_topdir {folder}",
        "--define=__os_install_post %{nil}",
        "--define=debug_package %{nil}",
    ]
    plain += ["--define=_build_id_links none", "--define=vendor AlmaLinux", "--nodeps", "--target=x86_64"]
    for number, batch in enumerate(_batches(packages)):
        spec = folder / f"disk{number}.spec"
        spec.write_text(_spec(batch))
        run(("rpmbuild", "-bb", *plain, spec))
    database = root.at("/var/lib/rpm")
    database.mkdir(parents=True, exist_ok=True)
    argv = ["rpm", "-i", f"--dbpath={database}", "--define=_db_backend sqlite", "--justdb", "--nodeps"]
    argv += [
        "--noscripts",
        "--notriggers",
        "--nosignature",
        "--nodigest",
        "--ignorearch",
        "--ignoreos",
        "--force",
    ]
    run((*argv, *sorted((folder / "RPMS").rglob("*.rpm"))))
