"""How much memory a process and all below it take."""

from __future__ import annotations

from pathlib import Path


def memory_taken(top: int) -> int:
    """Return the bytes that the process `top` and all below it take now, shared pages counted in part (PSS)."""
    return sum(map(_pss, _below(top)))


def _below(top: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found = [top]
    for pid in found:
        found += children.get(pid, [])
    return found


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("Pss:"))
