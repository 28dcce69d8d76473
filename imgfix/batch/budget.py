"""How many appliances fit into this machine's cores and memory, or into what the user gives."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from imgfix import accel, appliance, doctor
from imgfix.accel import Accelerator
from imgfix.disk.size import MIB, describe
from imgfix.errors import HostError, UsageError

#: What one apply takes besides the appliance's own memory, in MiB: QEMU, and imgfix with what it reads of a guest.
OVERHEAD_MIB = 384
#: Without KVM, QEMU keeps translated code besides: at most 1 GiB of it
#: (https://gitlab.com/qemu-project/qemu/-/blob/master/tcg/region.c, DEFAULT_CODE_GEN_BUFFER_SIZE_1).
TRANSLATED_MIB = 1024

_UNITS = {"": 20, "K": 10, "M": 20, "G": 30, "T": 40}


@dataclass(frozen=True, slots=True)
class Budget:
    """`jobs` applies at once; each takes up to `each` bytes, and there are `memory` bytes for all."""

    jobs: int
    memory: int
    each: int


def parse_size(text: str) -> int:
    """Return the bytes of `6GiB`, `6G`, `6144` (MiB); raises UsageError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    if not found:
        raise UsageError(f"--memory {text}: a size is needed", hint="for example --memory 6GiB")
    return int(float(found[1]) * (1 << _UNITS[found[2].upper()]))


def need(*, emulated: bool) -> int:
    """Return the bytes of memory that one apply may take at most."""
    return (appliance.MEMORY_MIB + OVERHEAD_MIB + (TRANSLATED_MIB if emulated else 0)) * MIB


def budget(jobs: int | None, memory: int | None, images: int) -> Budget:
    """Return the budget for `images` images; `jobs` and `memory` (bytes) are the user's limits.

    Raises HostError if not even one appliance fits into the memory.
    """
    each = need(emulated=accel.choose().accelerator is Accelerator.TCG)
    available = doctor.available_memory(doctor.Host())
    limits = [limit for limit in (memory, available) if limit is not None]
    total = min(limits) if limits else each
    if total < each:
        raise HostError(
            f"{describe(total)} of memory for the batch, up to {describe(each)} needed for one image",
            hint="end other programs, or raise --memory or the container's limit; `imgfix apply` does not ask first",
        )
    return Budget(max(1, min(jobs or cores(), total // each, images)), total, each)


def cores() -> int:
    """Return how many processors this process may use: its affinity, and its container's quota."""
    count = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return count
    return count if quota == "max" else max(1, min(count, int(quota) // int(period)))
