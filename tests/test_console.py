"""The terminal: what is said above the bars, and what of a guest's text reaches it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from imgfix.console import BarProgress, PlainProgress, printable, safe, standard_output


def test_a_long_sentence_above_the_bars_is_wrapped_under_its_begin() -> None:
    stream = io.StringIO()
    with BarProgress(Console(file=stream, width=40, force_terminal=True, color_system=None)) as progress:
        progress.begin("plan")
        progress.say("rebuilding grub config /boot/grub/grub.cfg: its menu is not on the serial port")
        progress.end("plan")
    said = stream.getvalue()
    assert "  rebuilding grub config" in said
    assert "\n  /boot/grub/grub.cfg: its menu" in said


def test_a_pipe_gets_a_sentence_on_one_line() -> None:
    stream = io.StringIO()
    progress = PlainProgress(Console(file=stream, width=40))
    with progress.phase("plan"):
        progress.say("word " * 20)
    assert stream.getvalue().splitlines() == ["planning ...", "  " + "word " * 20]


def test_a_table_in_a_pipe_is_not_wrapped_and_has_no_blanks_at_its_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("write", "word " * 60 + "end")
    table.add_row("remove", "x")
    standard_output().print(table)
    assert capsys.readouterr().out == f"write   {'word ' * 60}end\nremove  x\n"
    monkeypatch.setenv("COLUMNS", "40")
    standard_output().print(table)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 40


def test_nothing_of_a_guest_drives_the_terminal() -> None:
    assert printable("a\x1b[31m\x07\u202eb\nc") == "a\\x1b[31m\\x07\\u202eb\nc"
    assert safe("[bold]\udcff") == "\\[bold]\ufffd"
