"""The published schemas: each by its command, each sound, each with its version."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from imgfix import published
from imgfix.cli import cli
from imgfix.commands import profiles


def test_the_command_offers_all_of_them() -> None:
    assert sorted(published.SCHEMAS) == list(profiles.SCHEMAS)
    helped = CliRunner().invoke(cli, ["schema", "--help"]).output
    assert [name for name in published.SCHEMAS if f"\n  {name} " not in helped] == []


@pytest.mark.parametrize("name", published.SCHEMAS)
def test_the_command_prints_it_with_its_version(name: str) -> None:
    printed = CliRunner().invoke(cli, ["schema", name])
    assert printed.exit_code == 0
    schema = json.loads(printed.output)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:imgfix:{name}:{published.SCHEMAS[name][0]}"


def test_the_published_files_are_up_to_date() -> None:
    folder = Path(__file__).parents[1] / "docs" / "schemas"
    published_files = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    assert published_files == {name: published.schema(name) for name in published.SCHEMAS}, (
        "run scripts/gen-docs"
    )
