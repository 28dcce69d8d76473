"""How much memory an appliance gets, by what the host still has."""

from __future__ import annotations

import pytest

from imgfix import memory


@pytest.mark.parametrize(
    ("available", "given"),
    [(64 << 20, 2048), (2 << 20, 1792), (1 << 20, 768), (200 << 10, 768)],
    ids=["much", "enough", "little", "too little"],
)
def test_an_appliance_takes_no_more_than_the_host_has(available: int, given: int) -> None:
    files = {"/proc/meminfo": f"MemTotal: 1 kB\nMemAvailable: {available} kB\n"}
    assert memory.for_appliance(lambda path: files.get(path, "")) == given


def test_a_container_counts_and_its_cache_does_not() -> None:
    files = {
        "/proc/meminfo": f"MemAvailable: {64 << 20} kB\n",
        "/sys/fs/cgroup/memory.max": f"{2 << 30}\n",
        "/sys/fs/cgroup/memory.current": f"{1 << 30}\n",
        "/sys/fs/cgroup/memory.stat": f"anon 5\ninactive_file {512 << 20}\n",
    }
    assert memory.for_appliance(lambda path: files.get(path, "")) == 1536 - 256


def test_a_host_that_does_not_tell() -> None:
    assert memory.available(lambda _: "") is None
    assert memory.for_appliance(lambda _: "") == 2048


def test_this_host() -> None:
    assert memory.LEAST_MIB <= memory.for_appliance() <= memory.WANTED_MIB
