"""The host's qemu-img: its version, and the ones that write wrong VHDs (R11)."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from pathlib import Path

from imgfix.disk.fault import HEADROOM, no_space
from imgfix.errors import HostError

Version = tuple[int, int, int]

#: From 2.2.1 qemu-img wrote improperly formatted VHDs, mended in 2.6
#: (https://learn.microsoft.com/en-us/azure/virtual-machines/linux/create-upload-generic, "Resizing VHDs").
BAD_FROM: Version = (2, 2, 1)
GOOD_AGAIN: Version = (2, 6, 0)

_VERSION = re.compile(r"^qemu-img version (\d+)\.(\d+)(?:\.(\d+))?", re.MULTILINE)
_SECONDS = 30


def installed_version() -> Version:
    """Return the version of the qemu-img on PATH; raises HostError if there is none or it does not answer."""
    try:
        done = subprocess.run(
            ("qemu-img", "--version"), capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except FileNotFoundError as error:
        raise HostError(
            "qemu-img is not installed", hint="apt install qemu-utils, or dnf install qemu-img"
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"qemu-img --version does not run: {error}") from error
    return parse_version(done.stdout + done.stderr)


def parse_version(text: str) -> Version:
    """Return the version in what `qemu-img --version` prints; raises HostError if it is not there."""
    match = _VERSION.search(text)
    if not match:
        raise HostError(f"qemu-img --version gave no version: {text.strip()[:200]!r}")
    major, minor, patch = match.groups(default="0")
    return int(major), int(minor), int(patch)


def refuse_known_bad(version: Version) -> None:
    """Raise HostError for a qemu-img that writes VHDs of a wrong size."""
    if BAD_FROM <= version < GOOD_AGAIN:
        raise HostError(
            f"qemu-img {'.'.join(map(str, version))} writes VHDs of a wrong size, as 2.2.1 to 2.5 all do",
            hint="install qemu-img 2.6 or later",
        )


def run(doing: str, path: Path, *arguments: str, program: str = "qemu-img") -> None:
    """Run qemu-img in the folder of `path`, which messages name.

    Raises HostError with its whole stderr, or with both numbers where there is no space.
    """
    refuse_known_bad(installed_version())
    try:
        done = subprocess.run(
            (program, *arguments), cwd=path.parent, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except OSError as error:
        raise HostError(
            f"{program} cannot be run: {error.strerror}; it is needed for {doing}",
            hint="apt install qemu-utils, or dnf install qemu-img",
        ) from error
    if done.returncode:
        said = (done.stderr + done.stdout).decode("utf-8", "replace").strip()
        if os.strerror(errno.ENOSPC) in said:
            raise no_space(doing, path.parent, needed=HEADROOM)
        raise HostError(f"{path}: {doing} failed ({done.returncode}): {said or 'it said nothing'}")
