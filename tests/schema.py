"""A published schema as a test of what imgfix printed: it has to fit, and one of another version must not."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from imgfix import published


def require_fit(name: str, data: Any) -> None:
    """Validate `data` against the schema `name`, which must refuse it with another version."""
    schema = json.loads(published.schema(name))
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    validator.check_schema(schema)
    validator.validate(data)
    key = "version" if "version" in data else "format"
    assert schema["$id"] == f"urn:imgfix:{name}:{data[key]}"
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**data, key: data[key] + 1})
