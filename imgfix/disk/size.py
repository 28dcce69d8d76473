"""How large a disk may be and must be for Azure. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from imgfix.errors import ImageError, UsageError

MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40
_SIZE = re.compile(r"(\d{1,12})\s*(?:([MGT])(?:iB)?)?", re.IGNORECASE | re.ASCII)
_UNITS = ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (1 << 10, "KiB"))


@dataclass(frozen=True, slots=True)
class Limits:
    """What the platform takes, in bytes; a profile may set its own.

    `warn_above`: https://learn.microsoft.com/en-us/azure/virtual-machines/linux/create-upload-generic
    `gen1_max`: https://learn.microsoft.com/en-us/azure/virtual-machines/generation-2 (OS disk above 2 TB)
    `gen2_max`: https://learn.microsoft.com/en-us/azure/virtual-machines/managed-disks-overview (OS disk)
    `min_upload`: https://learn.microsoft.com/en-us/rest/api/compute/disks/create-or-update (uploadSizeBytes:
    at least 20972032, that is 20 MiB and a footer)
    """

    warn_above: int = 1023 * GIB
    gen1_max: int = 2 * TIB
    gen2_max: int = 4095 * GIB
    min_upload: int = 20 * MIB


AZURE = Limits()


def round_up_mib(size: int) -> int:
    """Return the smallest whole number of MiB, in bytes, that holds `size` bytes (Azure refuses the rest)."""
    return -(-size // MIB) * MIB


def describe(size: int) -> str:
    """Return `size` bytes for people, exact: "1.5 GiB (1610612736 bytes)"; below 1 KiB "512 bytes"."""
    if size < 1 << 10:
        return f"{size} bytes"
    unit, name = next((unit, name) for unit, name in _UNITS if size >= unit)
    return f"{size / unit:.4g} {name} ({size} bytes)"


def short(size: int) -> str:
    """Return `size` bytes for people, rounded: "1.50 GiB", "700 MiB"."""
    return f"{size / GIB:.2f} GiB" if size >= GIB else f"{size / MIB:.0f} MiB"


def check_size(size: int, *, gen1: bool, gen2: bool, limits: Limits = AZURE) -> tuple[str, ...]:
    """Return warnings for a disk of `size` bytes that boots as Gen1 (BIOS), Gen2 (UEFI) or both.

    Raises ImageError where the platform refuses the disk in every generation that it can boot as.
    """
    _refuse(size, gen2=gen2 or not gen1, limits=limits)
    warnings = []
    if size > limits.warn_above:
        warnings.append(
            f"the disk has {describe(size)}; Microsoft's guide to preparing images names "
            f"{describe(limits.warn_above)} as the largest"
        )
    if gen1 and size > limits.gen1_max:
        warnings.append(
            f"the disk has {describe(size)}, above the {describe(limits.gen1_max)} of a Generation 1 "
            "OS disk: create the image as Generation 2"
        )
    return tuple(warnings)


def _refuse(size: int, *, gen2: bool, limits: Limits) -> None:
    most = limits.gen2_max if gen2 else limits.gen1_max
    generation = "2" if gen2 else "1"
    if size > most:
        raise ImageError(
            f"the disk has {describe(size)}, and Azure takes Generation {generation} OS disks "
            f"up to {describe(most)}",
            hint="shrink the last partition and the disk in its hypervisor, or move data to a data disk",
        )
    if size < limits.min_upload:
        raise ImageError(
            f"the disk has {describe(size)}, and Azure takes uploads from {describe(limits.min_upload)}",
            hint=f"make a copy larger: truncate -s {limits.min_upload} DISK",
        )


def parse_size(text: str) -> int:
    """Return the bytes of "64G", "64GiB", "65536M" or a plain number of bytes. Raises UsageError.

    Units are binary, as qemu-img's; "GB" is refused, as nobody can tell which one is meant.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise UsageError(
            f"{text!r} is no size", hint="write it like 64G, 65536M or 68719476736: GiB, MiB, bytes"
        )
    unit = {"M": MIB, "G": GIB, "T": TIB, "": 1}[(found[2] or "").upper()]
    size = int(found[1]) * unit
    if size % MIB:
        raise UsageError(
            f"a disk of {size} bytes is no whole number of MiB, which Azure asks for",
            hint=f"the next one is {round_up_mib(size)}",
        )
    return size


def require_larger(name: str, size: int, wanted: int) -> None:
    """Raise UsageError where a disk of `size` bytes would have to shrink to be `wanted` bytes."""
    if wanted < size:
        raise UsageError(
            f"{name}: has {describe(size)}, and --size asks for {describe(wanted)}: imgfix makes no disk smaller",
            hint="shrink its file systems and partitions in the virtual machine, and the disk in its hypervisor",
        )
