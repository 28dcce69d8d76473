"""The JSON schemas that imgfix publishes: of what it writes, and of the profiles that it reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TypeAlias

from pydantic import TypeAdapter

from imgfix import checkup, events, inspection
from imgfix.batch import events as batch
from imgfix.batch import result
from imgfix.profile import Profile
from imgfix.readiness import model as readiness
from imgfix.rehearsal import model as rehearsal
from imgfix.reports import model

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _report() -> dict[str, Json]:
    return model.Report.model_json_schema(mode="serialization")


def _readiness() -> dict[str, Json]:
    return readiness.Readiness.model_json_schema(mode="serialization")


def _progress() -> dict[str, Json]:
    return events.Event.model_json_schema(mode="serialization")


def _inspection() -> dict[str, Json]:
    return TypeAdapter(inspection.Document).json_schema(mode="serialization")


def _doctor() -> dict[str, Json]:
    return checkup.Checkup.model_json_schema(mode="serialization")


def _rehearsal() -> dict[str, Json]:
    return rehearsal.RehearsalReport.model_json_schema(mode="serialization")


def _batch_result() -> dict[str, Json]:
    return result.Result.model_json_schema(mode="serialization")


def _batch_line() -> dict[str, Json]:
    return batch.Line.model_json_schema(mode="serialization")


def _profile() -> dict[str, Json]:
    """A file may leave out everything: the rest comes from the profile that it extends."""
    schema = _without_required(Profile.model_json_schema())
    assert isinstance(schema, dict)
    properties = schema["properties"]
    assert isinstance(properties, dict)
    extends: Json = {"type": "string", "description": "the profile that this one builds on"}
    return {**schema, "properties": {"extends": extends, **properties}}


def _without_required(value: Json) -> Json:
    if isinstance(value, list):
        return [_without_required(item) for item in value]
    if not isinstance(value, dict):
        return value
    # A property may be called `required` as well; the schema's own is a list.
    return {k: _without_required(v) for k, v in value.items() if k != "required" or not isinstance(v, list)}


#: The schemas by name, each with its version.
SCHEMAS: Mapping[str, tuple[int, Callable[[], dict[str, Json]]]] = {
    "batch-line": (batch.VERSION, _batch_line),
    "batch-result": (result.VERSION, _batch_result),
    "doctor": (checkup.VERSION, _doctor),
    "inspection": (inspection.VERSION, _inspection),
    "profile": (1, _profile),
    "progress": (events.VERSION, _progress),
    "readiness": (readiness.VERSION, _readiness),
    "rehearsal": (rehearsal.VERSION, _rehearsal),
    "report": (model.VERSION, _report),
}


def schema(name: str) -> str:
    """Return the schema `name` as JSON text; its `$id` ends in its version."""
    version, make = SCHEMAS[name]
    head: dict[str, Json] = {"$schema": _DIALECT, "$id": f"urn:imgfix:{name}:{version}"}
    return json.dumps({**head, **make()}, indent=2, ensure_ascii=False) + "\n"
