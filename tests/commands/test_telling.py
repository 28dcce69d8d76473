"""How an apply tells what it does, by the real command line; what it fails at needs no appliance."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import jsonschema
import pytest
from click.shell_completion import BashComplete

from imgfix import published
from imgfix.cli import cli

ROOT = Path(__file__).parents[2]

#: What takes longer to load than an answer may take (measured: rich 90 ms, pydantic 120 ms, jinja2 60 ms).
HEAVY = (
    "pydantic",
    "rich",
    "yaml",
    "jinja2",
    "guestfs",
    "tenacity",
    "zstandard",
    "hashlib",
    "imgfix.pipeline",
)


def imgfix(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in `folder`."""
    argv = (sys.executable, "-m", "imgfix", *arguments)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def blank(tmp_path: Path) -> Path:
    """A folder with blank.raw, a disk that is refused at once."""
    (tmp_path / "blank.raw").write_bytes(bytes(1 << 20))
    return tmp_path


def test_a_refused_disk_is_told_in_both_reports_and_on_the_terminal(blank: Path) -> None:
    done = imgfix(blank, "apply", "debian", "blank.raw", "--report", "r.json", "--report", "r.html")
    assert done.returncode == 3
    assert done.stderr.count("the disk is blank") == 1
    report = json.loads((blank / "r.json").read_text())
    jsonschema.validate(report, json.loads(published.schema("report")))
    assert (report["outcome"], report["failure"]["exit_code"]) == ("failed", 3)
    assert "the disk is blank" in report["failure"]["message"]
    assert "the disk is blank" in (blank / "r.html").read_text()
    assert sorted(path.name for path in blank.iterdir()) == ["blank.raw", "r.html", "r.json"]


def test_progress_json_is_lines_that_a_program_can_read(blank: Path) -> None:
    done = imgfix(blank, "apply", "debian", "blank.raw", "--progress", "json", "--report", "r.json")
    assert done.returncode == 3
    assert done.stdout == ""
    events = [json.loads(line) for line in done.stderr.splitlines()]
    validator = jsonschema.Draft202012Validator(json.loads(published.schema("progress")))
    for event in events:
        validator.validate(event)
    assert events[0]["text"] == "report: r.json"
    last = events[-1]
    assert (last["event"], last["exit_code"]) == ("error", 3)
    assert "the disk is blank" in last["text"]


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("--report", "r.txt"), 2, ".json or .html"),
        (("--report", "none/r.json"), 2, "no such folder"),
        (("--report", "blank.raw"), 2, ".json or .html"),
        (("--report", "blank.vhd.json", "-o", "blank.vhd.json"), 2, "would replace the disk"),
        (("--progress", "xml"), 2, "'xml' is not one of"),
    ],
)
def test_a_wrong_wish_is_refused_before_the_work(
    blank: Path, options: Sequence[str], status: int, words: str
) -> None:
    done = imgfix(blank, "apply", "debian", "blank.raw", *options)
    assert (done.returncode, words in done.stderr) == (status, True), done.stderr
    assert [path.name for path in blank.iterdir()] == ["blank.raw"]


def test_help_and_completion_load_nothing_heavy() -> None:
    program = (
        "import sys\nfrom imgfix.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    print(*sorted(sys.modules), file=sys.stderr)"
    )
    for arguments, environment in (
        (("--help",), {}),
        (("apply", "--help"), {}),
        ((), {"_IMGFIX_COMPLETE": "bash_complete", "COMP_WORDS": "imgfix apply r", "COMP_CWORD": "2"}),
    ):
        done = subprocess.run(
            (sys.executable, "-c", program, *arguments),
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        loaded = set(done.stderr.split())
        assert "imgfix.cli" in loaded
        assert not [name for name in loaded if name.startswith(tuple(f"{heavy}." for heavy in HEAVY))]
        assert not loaded & set(HEAVY)


def test_a_profile_completes_to_bundled_names_and_files(tmp_path: Path) -> None:
    complete = BashComplete(cli, {}, "imgfix", "_IMGFIX_COMPLETE")
    found = {item.value for item in complete.get_completions(["apply"], "r")}
    assert {"rhel", "rhel6"} <= found
    assert "auto" in {item.value for item in complete.get_completions(["apply"], "")}
    assert {item.value for item in complete.get_completions(["verify", "--against"], "u")} == {"ubuntu"}
    assert "rhel" in {item.value for item in complete.get_completions(["check"], "")}
    assert [item.type for item in complete.get_completions(["check", "rhel"], "")] == ["file"]
    assert [item.type for item in complete.get_completions(["batch", "rhel"], "r")] == ["file"]
    assert "auto" not in {item.value for item in complete.get_completions(["profile", "show"], "")}
    (file,) = complete.get_completions(["apply"], "./mine")
    assert file.type == "file"
    assert {item.value for item in complete.get_completions(["profile"], "s")} == {"show", "schema"}


def test_validate_tells_all_mistakes_with_carets_under_the_place(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("extends: rhel\nkernel_args:\n  ad: [x]\nswap: {size_mib: many}\n")
    (tmp_path / "worse.yaml").write_text("swap: {\n")
    done = imgfix(tmp_path, "profile", "validate", "bad.yaml", "debian", "worse.yaml")
    assert done.returncode == 2
    assert done.stdout == "debian: valid\n"
    for words in (
        "bad.yaml:3:3: kernel_args.ad: unknown key; did you mean add?\n    3 |   ad: [x]\n      |   ^^\n",
        "    4 | swap: {size_mib: many}\n      |        ^^^^^^^^\n",
        "error: worse.yaml:2:1: ",
    ):
        assert words in done.stderr


def test_a_profile_is_shown_as_written_or_as_it_is_resolved(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("# ours\nextends: rhel\n")
    written = imgfix(tmp_path, "profile", "show", "--as-written", "mine.yaml")
    assert written.stdout == "# ours\nextends: rhel\n"
    resolved = imgfix(tmp_path, "profile", "show", "--resolved", "mine.yaml", "--set", "swap.size_mib=77")
    assert "size_mib: 77" in resolved.stdout
    assert "rootdelay=300" in resolved.stdout


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colours_come_on_a_terminal_and_not_with_no_color(tmp_path: Path, no_color: str) -> None:
    ours, theirs = pty.openpty()
    argv = (sys.executable, "-m", "imgfix", "check", "none.raw")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "NO_COLOR": no_color}
    status = subprocess.run(argv, cwd=tmp_path, env=environment, stderr=theirs, check=False).returncode
    os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        said = terminal.read(4096).decode()
    assert status == 2
    assert "none.raw: there is no such file" in said
    # Colours, and not how a line is begun anew or written bold: https://no-color.org
    assert bool(re.search(r"\x1b\[(?:[0-9]+;)*(?:3|9)[0-9]", said)) is not bool(no_color)
