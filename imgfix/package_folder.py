"""A local folder of .deb and .rpm files, read on the host: what is in it, and where each file lies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imgfix.errors import GuestError, UsageError
from imgfix.packaging.debian import read_deb
from imgfix.packaging.model import Package
from imgfix.packaging.offer import Offer
from imgfix.packaging.rpm import read_rpm

_READERS: dict[str, Callable[[BinaryIO, str], Package]] = {".deb": read_deb, ".rpm": read_rpm}


@dataclass(frozen=True, slots=True)
class PackageFolder:
    """The packages of a folder, and the file of each by its name below it."""

    offer: Offer
    paths: Mapping[str, Path]


def read(folder: Path) -> PackageFolder:
    """Read every package in `folder` and below; raises UsageError where there is none, or one is damaged."""
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: there is no such folder, needed for packages",
            hint="--packages takes a folder of .deb or .rpm files",
        )
    found = [(_package(path, folder), path) for path in _files(folder)]
    if not found:
        raise UsageError(
            f"{folder}: no .deb or .rpm file in it",
            hint="fill it with `apt-get download` or `dnf download --resolve` on a machine like the guest",
        )
    packages = tuple(package for package, _ in found)
    return PackageFolder(
        Offer(str(folder), packages), {package.file: path.absolute() for package, path in found}
    )


def _files(folder: Path) -> Iterator[Path]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix in _READERS)
    return (path for path in paths if path.is_file())


def _package(path: Path, folder: Path) -> Package:
    name = path.relative_to(folder).as_posix()
    try:
        with path.open("rb") as stream:
            return _READERS[path.suffix](stream, name)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except GuestError as error:
        raise UsageError(
            f"{folder}/{error.message}", hint="fetch the package again, or take it out of the folder"
        ) from error
