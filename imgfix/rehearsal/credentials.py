"""Credentials that a systemd from 252 on takes from its machine's SMBIOS; an older one does not look at them.

https://www.freedesktop.org/software/systemd/man/latest/systemd.system-credentials.html
"""

from __future__ import annotations

import base64

from imgfix.rehearsal.machine import RESOURCE_DISK

_PREFIX = "io.systemd.credential"


def credentials(*, emulated: bool, resource_disk: bool) -> tuple[str, ...]:
    """Return the values of SMBIOS type 11 strings for one boot."""
    found = []
    if emulated:
        # QEMU before 8 translates a program anew for each place in memory where it is run, and randomised addresses
        # give each process its own.
        found.append(f"{_PREFIX}:sysctl.extra=kernel.randomize_va_space=0")
    if resource_disk:
        found.append(f"{_PREFIX}.binary:tmpfiles.extra={_encoded(_links())}")
    return tuple(found)


def _links() -> str:
    """The agents know the resource disk by links that udev makes of VMBus' numbers, and QEMU has no VMBus."""
    by_path = f"../by-path/{RESOURCE_DISK}"
    lines = ["d /dev/disk/cloud 0755 root root -", f"L /dev/disk/cloud/azure_resource - - - - {by_path}"]
    lines += [
        f"L /dev/disk/cloud/azure_resource-part{number} - - - - {by_path}-part{number}" for number in (1, 2)
    ]
    return "\n".join(lines) + "\n"


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
