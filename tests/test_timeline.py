"""Where the time went: on the terminal, in events, in the report."""

from __future__ import annotations

import io
import json

import jsonschema
from rich.console import Console

from imgfix import published, timeline
from imgfix.events import JsonProgress
from imgfix.progress import Progress, Ran, Span
from imgfix.reports.build import build
from tests.reports import sample

SPANS = (Span("copy", 0.0, 1.5), Span("verify", 9.0, 2.0), Span("apply", 2.0, 6.0))
COMMANDS = (
    Ran(("update-initramfs", "-u"), 2.5, 4.0, 0),
    Ran(("sh", "-c", f"echo \x1b[31m[red]{'x' * 80}"), 7.0, 0.5, 3),
)


def shown() -> list[str]:
    """Print the time line as a terminal of 100 columns would."""
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    console.print(timeline.table(SPANS, COMMANDS))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_commands_stand_below_their_phase_and_drive_no_terminal() -> None:
    words = [line.split(maxsplit=2) for line in shown()]
    assert [(w[0], w[1], w[2].split()[0]) for w in words[1:-1]] == [
        ("0.0", "1.5", "copy"),
        ("2.0", "6.0", "apply"),
        ("2.5", "4.0", "update-initramfs"),
        ("7.0", "0.5", "sh"),
        ("9.0", "2.0", "verify"),
    ]
    assert words[-1] == ["11.0", "in", "all"]
    assert words[4][2].startswith(r"sh -c echo \x1b[31m[red]xxx")
    assert words[4][2].endswith("... (status 3)")


def test_a_command_is_an_event_when_it_has_ended() -> None:
    stream = io.StringIO()
    JsonProgress(stream).ran(("echo", "\udcff"), 0.25, 1)
    event = json.loads(stream.getvalue())
    jsonschema.validate(event, json.loads(published.schema("progress")))
    assert (event["event"], event["argv"], event["seconds"], event["status"]) == (
        "command",
        ["echo", "\\xff"],
        0.25,
        1,
    )


def test_a_report_has_the_commands() -> None:
    progress = Progress()
    progress.ran(("update-grub",), 0.5, 0)
    report = build(sample.diary(), SPANS, sample.VERSIONS, {}, 93.0, progress.commands)
    (command,) = report.commands
    assert (command.argv, command.seconds, command.status) == (("update-grub",), 0.5, 0)
