"""The summary of an apply on the terminal: grouped, counted, wrapped, and what was right apart from advice."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from imgfix import report
from imgfix.change import Advice, Decision, Noop, Rebuild, RebuildKind, Remove, WriteFile
from imgfix.plan import Item, Plan
from tests.readiness.test_judge import preview


def _shown(*items: tuple[str, Decision], width: int = 100) -> list[str]:
    stream = io.StringIO()
    plan = Plan(tuple(Item(step, decision) for step, decision in items))
    Console(file=stream, width=width).print(report.plan_table(plan))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_many_of_a_kind_are_counted_for_what_they_are() -> None:
    writes = (("kernel_args", WriteFile(f"/boot/{n}", b"x", "the command line")) for n in range(7))
    removals = (("generalize", Remove(f"/var/{n}", "belongs to the old machine")) for n in range(7))
    lines = _shown(*writes, *removals)
    assert lines == [
        "kernel_args  write   7 files - the command line",
        "generalize   remove  7 files and folders - belongs to the old machine",
    ]


def test_few_of_a_kind_are_named() -> None:
    lines = _shown(*(("kernel_args", WriteFile(f"/boot/{n}", b"x", "the command line")) for n in range(6)))
    assert len(lines) == 6


def test_a_step_with_advice_is_not_called_fine() -> None:
    lines = _shown(("lvm", Advice("LVM is advised against")), ("swap", Noop("no swap")))
    assert lines == ["     fine  swap: nothing to do", "lvm  note  LVM is advised against"]


def test_what_a_generator_makes_is_named_once_and_without_its_line() -> None:
    made = Rebuild(
        RebuildKind.GRUB_CONFIG, "/boot/grub/grub.cfg", (("x",),), "/boot/grub/grub.cfg:116: quiet is present"
    )
    assert _shown(("grub", made)) == ["grub  rebuild  /boot/grub/grub.cfg - quiet is present"]


def test_a_narrow_terminal_wraps_under_the_column(tmp_path: Path) -> None:
    found, _ = preview(tmp_path)
    lines = _shown(*((item.step, item.decision) for item in found.plan.items), width=80)
    assert max(map(len, lines)) <= 80
    indent = len("grub_terminal  rebuild  ")
    assert [line for line in lines if line[:indent].strip() and not line[indent - 1 :].startswith(" ")] == []
