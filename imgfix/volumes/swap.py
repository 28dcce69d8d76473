"""Swap files that hold the memory of a machine that sleeps; swap areas tell by their type."""

from __future__ import annotations

from collections.abc import Iterable

from imgfix import tree
from imgfix.appliance import Appliance
from imgfix.guest import Guest
from imgfix.tree import Kind

#: Where the signature ends: at the end of the first page, of 4 KiB or (arm64, ppc64) 64 KiB.
_PAGES = (4096, 65536)

#: What the kernel (S1SUSPEND, LINHIB0001), µswsusp (ULSUSPEND) and TuxOnIce write in the place of SWAPSPACE2
#: (https://github.com/util-linux/util-linux/blob/master/libblkid/src/superblocks/swap.c, probe_swsuspend).
_SLEEPING = (b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001")
_SIGNATURE = 10  # bytes


def hibernated_files(appliance: Appliance, guest: Guest, paths: Iterable[str]) -> tuple[str, ...]:
    """Return those of the guest's swap files `paths` that hold a hibernated machine's memory."""
    found = []
    for path in paths:
        real = tree.resolve(guest, path)
        entry = guest.lstat(real)
        if entry is None or entry.kind is not Kind.FILE:
            continue
        for page in (page for page in _PAGES if page <= entry.size):
            signature = bytes(appliance.call("pread", real, _SIGNATURE, page - _SIGNATURE))
            if signature.startswith(_SLEEPING):
                found.append(path)
                break
    return tuple(found)
