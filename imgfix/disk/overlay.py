"""The overlay: what an appliance may write to while it looks at a source, thrown away afterwards."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imgfix.disk.sector import SECTOR
from imgfix.disk.source import Source, require_unchanged
from imgfix.errors import HostError, ImgfixError

_SECONDS = 60
#: qcow2 names its backing file in so many bytes
#: (https://www.qemu.org/docs/master/interop/qcow2.html, backing_file_size).
_LONGEST_NAME = 1023


@contextmanager
def overlay(source: Source, growth: int = 0) -> Iterator[Path]:
    """Make a qcow2 over the source, as large as its data and `growth` bytes: a VHD's footer is no part of the disk.

    A journal that must be replayed goes there, and the source stays as it is. Raises HostError, and at the end
    ImageError where somebody has changed the source meanwhile.
    """
    size = -(-source.size // SECTOR) * SECTOR + growth
    with tempfile.TemporaryDirectory(prefix="imgfix-") as folder:
        path = Path(folder) / "overlay.qcow2"
        backing = _backing(source)
        argv = ("qemu-img", "create", "-q", "-f", "qcow2", *backing, str(path), str(size))
        try:
            subprocess.run(argv, capture_output=True, text=True, timeout=_SECONDS, check=True)
        except FileNotFoundError as error:
            raise HostError(
                "qemu-img is not installed; it makes the overlay that keeps the disk unchanged",
                hint="apt install qemu-utils, or dnf install qemu-img",
            ) from error
        except subprocess.CalledProcessError as error:
            raise HostError(
                f"no overlay for {source.path} in {folder}: {error.stderr.strip()}",
                hint="is there space in the temporary folder? TMPDIR names another one",
            ) from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise HostError(f"qemu-img create does not run: {error}") from error
        try:
            yield path
        except ImgfixError:
            # What was found of a disk that somebody changes meanwhile is not what it has.
            require_unchanged(source)
            raise
        require_unchanged(source)


def _backing(source: Source) -> tuple[str, str, str, str]:
    if source.image is None:
        return "-b", str(source.path.absolute()), "-F", "raw"
    name = source.image.node.name
    if len(name.encode()) > _LONGEST_NAME:
        raise HostError(
            f"{source.path}: its path is too long for an overlay, which names it in {_LONGEST_NAME} bytes",
            hint="move the image to a folder with a shorter path",
        )
    return "-b", name, "-F", source.image.node.driver
