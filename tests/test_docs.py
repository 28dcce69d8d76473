"""The documentation tells the truth: links, commands, exit codes, settings, requirements and error messages."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import click
import pytest

from imgfix.cli import cli
from imgfix.errors import ExitCode

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGES = (README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))

#: Options in code spans that belong to other programs than imgfix.
_FOREIGN = {"--fast", "--fix", "--strict", "--device", "--network", "--resources"}

#: A placeholder of a message, in the source and in the documentation.
_HOLE = "\0"


@pytest.fixture(params=PAGES, ids=lambda path: path.name)
def page(request: pytest.FixtureRequest) -> Path:
    """Each page in turn."""
    assert isinstance(request.param, Path)
    return request.param


def test_the_page_of_settings_is_up_to_date() -> None:
    loader = SourceFileLoader("gen_docs", str(ROOT / "scripts" / "gen-docs"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run scripts/gen-docs"


def test_links_lead_somewhere(page: Path) -> None:
    text = _without_code(page.read_text(encoding="utf-8"))
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        file = page.parent / target.replace("\\", "") if target else page
        assert file.exists(), target
        if anchor:
            assert anchor in _anchors(file), f"{target}#{anchor}"


def test_commands_and_options_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for line in _command_lines(text):
        _check_command(line)
    for span in re.findall(r"`(--[a-z-]+)[ =`]", text):
        assert span in _FOREIGN | _all_options(cli), span


def test_a_wrong_command_is_noticed() -> None:
    for line in ("imgfix aply x", "imgfix apply --frce x y", "imgfix profile shw", "imgfix --nonsense"):
        with pytest.raises(AssertionError):
            _check_command(line)


def test_exit_codes_are_those_of_the_program() -> None:
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert [(int(number), name) for number, name in rows] == [(code.value, code.name) for code in ExitCode]


def _requirements() -> list[list[str]]:
    text = (ROOT / "docs" / "requirements.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| R\d+ \|.*$", text, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_requirement_has_its_row() -> None:
    assert [row[0] for row in _requirements()] == [f"R{number}" for number in range(1, 29)]


@pytest.mark.parametrize("row", _requirements(), ids=lambda row: row[0])
def test_a_row_names_what_exists(row: list[str]) -> None:
    _, _, state, how, tests = row
    assert re.match(r"(done|partly|open)\b", state), state
    for name in re.findall(r"`((?:imgfix|tests)/[^`:]+)", f"{how} {tests}"):
        assert (ROOT / name).is_dir() if name.endswith("/") else (ROOT / name).is_file(), name
        if name.startswith("tests/cases/") and name.endswith("/"):
            assert list((ROOT / name).glob("*.yaml")), f"{name}: no case in it"
    found = re.findall(r"`([^`]+\.py)::(\w+)`", tests)
    assert found or "tests/cases/" in tests or "open" in tests, "no test named"
    for file, test in found:
        assert re.search(rf"^def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), test


def test_every_message_comes_from_the_program() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    messages = re.findall(r"^(?:### |\| )`(.+?)`(?:$| \|)", text, re.MULTILINE)
    assert len(messages) > 50
    sources = [*_literals(), (ROOT / "scripts" / "bootstrap.sh").read_text(encoding="utf-8")]
    assert [m for m in messages if not any(_is_in(m, source) for source in sources)] == []


def _is_in(message: str, source: str) -> bool:
    """Tell whether the parts of `message` between its holes come in `source`, in this order."""
    pattern = ".*".join(re.escape(part.strip()) for part in message.split("…"))
    return re.search(pattern, source, re.DOTALL) is not None


def _literals() -> Iterator[str]:
    """Yield every text of the program; what is filled in is a hole."""
    for path in sorted((ROOT / "imgfix").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(
                    part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else _HOLE
                    for part in node.values
                )


def _without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def _anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _command_lines(text: str) -> Iterator[str]:
    """Yield every call of imgfix in code blocks and code spans."""
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    for line in (*(line for block in blocks for line in block.splitlines()), *spans):
        if match := re.match(r"(?:\$ |[A-Z_]+=\S+ )*(?:scripts/)?(imgfix( .*)?)$", line):
            yield match[1]


def _check_command(line: str) -> None:
    """Walk the words of a call down click's commands; the first word that is no command ends the walk."""
    command: click.Command = cli
    for word in shlex.split(line, comments=True)[1:]:
        if word.startswith("-"):
            assert word.partition("=")[0] in _options(command), f"{line}: {word}"
        elif isinstance(command, click.Group):
            assert word in command.commands, f"{line}: {word}"
            command = command.commands[word]


def _options(command: click.Command) -> set[str]:
    names = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    return names | {"--help", "-h"}


def _all_options(command: click.Command) -> set[str]:
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return _options(command).union(*(_all_options(c) for c in below))
