"""What a rehearsal may leave behind: its processes, those in its namespaces too, are known by their TMPDIR."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def processes(temporary: Path) -> list[str]:
    """Return the command lines of all that run with this TMPDIR; a namespace lives as long as a process in it."""
    return list(_processes(f"TMPDIR={temporary}".encode()))


def _processes(mark: bytes) -> Iterator[str]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                yield (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # it has ended meanwhile
