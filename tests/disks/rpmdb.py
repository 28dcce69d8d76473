"""A real rpm database, filled from packages that are built empty but for the names of their files."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.facts import rpm_writer

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
    database = root.at("/var/lib/rpm")
    database.mkdir(parents=True, exist_ok=True)
    _register(packages, folder, database)


def fill_ndb(root: Root, packages: Sequence[Package], folder: Path) -> None:
    """The same in SUSE's place and format, which Debian's rpm does not write: /usr/lib/sysimage/rpm/Packages.db."""
    blobs = (blob for _, blob in _headers(packages, folder))
    root.write("/usr/lib/sysimage/rpm/Packages.db", rpm_writer.ndb(*blobs))
    root.link("/var/lib/rpm", "../../usr/lib/sysimage/rpm")


def fill_berkeley(root: Root, packages: Sequence[Package], folder: Path) -> None:
    """The same as /var/lib/rpm/Packages, a hash of Berkeley DB: EL 8 and older; the guest's own db5.3_load fills it."""
    headers = _headers(packages, folder)
    # Key 0 holds the highest number that was given (rpm's lib/backend/db3.c).
    pairs = [(0, headers[-1][0].to_bytes(4, "little")), *headers]
    lines = [f" {number.to_bytes(4, 'little').hex()}\n {blob.hex()}\n" for number, blob in pairs]
    head = "VERSION=3\nformat=bytevalue\ntype=hash\nHEADER=END\n"
    root.write("/tmp/dump", f"{head}{''.join(lines)}DATA=END\n")
    root.at("/var/lib/rpm").mkdir(parents=True, exist_ok=True)
    root.chroot("db5.3_load", "-f", "/tmp/dump", "/var/lib/rpm/Packages")
    root.remove("/tmp/dump")


def _headers(packages: Sequence[Package], folder: Path) -> list[tuple[int, bytes]]:
    """Number and header of each package, as rpm itself filed them with SQLite, the one format that it still writes."""
    made = folder / "sqlite"
    made.mkdir(parents=True)
    _register(packages, folder, made)
    with closing(sqlite3.connect(made / "rpmdb.sqlite")) as connection:
        rows = connection.execute("SELECT hnum, blob FROM Packages ORDER BY hnum").fetchall()
    return [(int(number), bytes(blob)) for number, blob in rows]


def _register(packages: Sequence[Package], folder: Path, database: Path) -> None:
    folder.mkdir(exist_ok=True)
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
