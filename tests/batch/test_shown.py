"""What people and programs see of a batch: table, JSON lines, page. Guest text drives none of them."""

from __future__ import annotations

import io
import json
from html.parser import HTMLParser
from pathlib import Path

from rich.console import Console

from imgfix.batch import budget, session, summary
from imgfix.batch.events import Event, Kind, json_lines
from imgfix.batch.image import Image
from imgfix.batch.live import LiveTable, final_table
from imgfix.batch.result import Attempt, Content, Failure, Result, State
from imgfix.errors import ExitCode
from tests.schema import require_fit

EVIL = "\x1b]0;owned\x07<script>alert(1)</script>[red]{{ 7*7 }}"


def image(number: int) -> Image:
    return Image(
        number, f"d{number}.vhd", Path(f"/d{number}.raw"), Path(f"/o/d{number}.vhd"), Path("/o/r"), "rhel"
    )


def made(number: int, state: State, verdict: str = "", failure: Failure | None = None) -> Result:
    attempt = Attempt(began="now", seconds=75.0, exit_code=0, verdict=verdict)
    return Result(
        index=number, name=f"d{number}.vhd", source=f"/d{number}.raw", output=f"/o/d{number}.vhd", profile="rhel",
        state=state, verdict=verdict, failure=failure, attempts=(attempt,), exit_code=0,
        made=Content(size=1 << 20, sha256="", stamp=(0, 0, 0, 0)) if state is State.DONE else None,
    )  # fmt: skip


RESULTS = (made(0, State.DONE, "ready"), made(1, State.FAILED, EVIL, Failure.PERMANENT))


def test_json_lines_are_one_object_each() -> None:
    stream = io.StringIO()
    tell = json_lines(stream)
    tell(Event(Kind.BEGIN, image(1), "attempt 1"))
    tell(Event(Kind.END, image(1), result=RESULTS[1]))
    begin, end = (json.loads(line) for line in stream.getvalue().splitlines())
    require_fit("batch-line", begin)
    require_fit("batch-line", end)
    assert begin == {"version": 1, "event": "begin", "image": "d1.vhd", "text": "attempt 1"}
    assert (end["state"], end["verdict"], end["failure"]) == ("failed", EVIL, "permanent")


def test_a_result_is_what_its_schema_says() -> None:
    for result in RESULTS:
        require_fit("batch-result", json.loads(result.model_dump_json()))


def test_the_table_shows_all_that_fits_and_what_runs_else() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100, height=12, color_system=None)
    with LiveTable(console, [f"d{n}.vhd" for n in range(30)]) as table:
        table(Event(Kind.BEGIN, image(20), "attempt 1"))
        table(Event(Kind.PHASE, image(20), "copying the disk"))
        table(Event(Kind.END, image(1), result=RESULTS[1]))
        stream.truncate(0)
    text = stream.getvalue()
    assert "d20.vhd" in text
    assert "copying the disk" in text
    assert "and 24 more" in text
    assert "1 of 30" in text


def test_the_last_table_holds_every_verdict_and_no_control_character() -> None:
    stream = io.StringIO()
    Console(file=stream, width=120, color_system=None).print(final_table(RESULTS))
    text = stream.getvalue()
    assert "1:15" in text
    assert "<script>" in text
    assert "[red]" in text
    assert "\x1b" not in text


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_holds_every_verdict_as_text(tmp_path: Path) -> None:
    page = summary.write(tmp_path, "m.yaml", RESULTS, 3)
    parser = _Tags()
    parser.feed(page.read_text())
    assert "script" not in parser.tags
    assert "<script>alert(1)</script>[red]{{ 7*7 }}" in parser.text
    assert "\\x1b" in parser.text
    assert "\x1b" not in parser.text
    assert "1not begun" in parser.text
    assert [path.name for path in tmp_path.iterdir()] == ["summary.html"]


def test_the_exit_code_tells_all_some_or_none() -> None:
    done, failed = RESULTS
    assert session.exit_code((done, done)) is ExitCode.DONE
    assert session.exit_code((done, failed)) is ExitCode.SOME_FAILED
    assert session.exit_code((failed, failed)) is ExitCode.APPLY


def test_sizes() -> None:
    sizes = {text: budget.parse_size(text) for text in ("6GiB", "6G", "6144", "6144MB", "6291456 k", "0.5T")}
    assert set(sizes.values()) == {6 << 30, 512 << 30}
