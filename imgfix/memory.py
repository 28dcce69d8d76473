"""How much memory this host, or the container that this is, still has; and what of it an appliance gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

#: MiB for an appliance: mkinitramfs and dracut with zstd need more than libguestfs' default. Below the second number
#: a kernel's modules can no longer be packed; the third is for QEMU itself and for imgfix.
WANTED_MIB, LEAST_MIB, BESIDES_MIB = 2048, 768, 256


def text(path: str) -> str:
    """Return the text of a file of /proc or /sys, or "" if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def for_appliance(text: Callable[[str], str] = text) -> int:
    """Return the MiB of memory that an appliance gets: less than it might use where the host has less.

    Inside an appliance that is short of memory a command of the guest fails, with its words; on a host that is, the
    kernel ends QEMU.
    """
    free = available(text)
    if free is None:
        return WANTED_MIB
    return max(LEAST_MIB, min(WANTED_MIB, (free >> 20) - BESIDES_MIB))


def available(text: Callable[[str], str] = text) -> int | None:
    """Return the bytes of memory that can be taken; None if that cannot be told. `text` reads a file of this host."""
    return min(_limits(text), default=None)


def _limits(text: Callable[[str], str]) -> Iterator[int]:
    """Yield what bounds the memory that can be taken, in bytes: the kernel's estimate, cgroups 2 and 1."""
    for line in text("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) << 10
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        most, taken = text(limit).strip(), text(used).strip()
        if most.isdigit() and taken.isdigit():
            yield max(0, int(most) - max(0, int(taken) - _cached(text, Path(limit).parent)))


def _cached(text: Callable[[str], str], cgroup: Path) -> int:
    """Bytes that a cgroup has of files, which the kernel drops where programs need the memory."""
    rows = (line.split() for line in text(str(cgroup / "memory.stat")).splitlines())
    return sum(int(row[1]) for row in rows if row[0] in ("inactive_file", "total_inactive_file"))
