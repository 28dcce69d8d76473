"""Which programs did the work, as they tell it themselves."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Callable

from imgfix import __version__, accel, appliance
from imgfix.disk import qemu_img
from imgfix.errors import HostError
from imgfix.reports.model import Versions

_SECONDS = 20
_QEMU = re.compile(r"version (\S+)")


def versions(accelerator: str) -> Versions:
    """Return the versions; what cannot be asked is None, as a report must not fail for it."""
    return Versions(
        imgfix=__version__,
        libguestfs=_asked(lambda: appliance.versions()["libguestfs"]),
        qemu=_asked(_qemu),
        qemu_img=_asked(lambda: ".".join(map(str, qemu_img.installed_version()))),
        python=platform.python_version(),
        host_kernel=platform.release(),
        accelerator=accelerator,
    )


def _asked(ask: Callable[[], str | None]) -> str | None:
    try:
        return ask()
    except HostError:
        return None


def _qemu() -> str | None:
    try:
        done = subprocess.run(
            (accel.qemu_binary(), "--version"), capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _QEMU.search(done.stdout)
    return found[1] if found else None
