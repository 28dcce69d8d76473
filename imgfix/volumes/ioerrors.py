"""Did the disk take all that was written? A write that fails late reaches no program: only the kernel tells of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imgfix.appliance import DISK, Appliance, GuestfsError
from imgfix.disk.fault import HEADROOM, no_space
from imgfix.errors import HostError, ImgfixError

# "I/O error, dev sda, sector 2048 op 0x1:(WRITE) ..." and "critical space allocation error, dev sda, ..."
# (https://github.com/torvalds/linux/blob/master/block/blk-mq.c, blk_print_req_error). Where the host's file system
# cannot punch holes, a discard fails and does no harm.
_ERRORS = f"""
disk=$(basename {DISK})
dmesg | grep -F " error, dev $disk," | grep -v DISCARD | head -n 5
"""
# What ENOSPC of the host becomes, by way of SCSI's "space allocation failed" (QEMU's scsi/utils.c, and the kernel's
# BLK_STS_NOSPC). There may be room again by the time that it is told: a trim frees some.
_FULL = "critical space allocation error"


def require_none(appliance: Appliance, folder: Path) -> None:
    """Raise HostError where the disk failed to read or write anything in this launch; ask after the last sync.

    `folder` is where the disk's file lies on the host.
    """
    if found := _found(appliance):
        raise _failed(found, folder)


@contextmanager
def explaining(appliance: Appliance, folder: Path) -> Iterator[None]:
    """Raise HostError instead of an error of the block where the disk failed: what a guest says of that misleads."""
    try:
        yield
    except HostError:  # knows the cause already: no space, a dead appliance
        raise
    except (ImgfixError, GuestfsError) as error:
        found = ""
        if appliance.alive():
            with suppress(ImgfixError, GuestfsError):
                found = _found(appliance)
        if found:
            raise _failed(found, folder) from error
        raise


def _found(appliance: Appliance) -> str:
    _, output = appliance.shell(_ERRORS)
    return output.strip()


def _failed(found: str, folder: Path) -> HostError:
    if _FULL in found:
        return no_space("all of the guest's changes", folder, needed=HEADROOM)
    return HostError(
        f"the host could not read or write all of the disk's file in {folder}; the appliance's kernel says:\n{found}",
        hint="look for the cause in the host's kernel log (dmesg); nothing was published",
    )
