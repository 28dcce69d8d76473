"""pydantic's complaints about a YAML document, in YAML's words and with the line that each is about."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from pydantic import BaseModel, ValidationError

from imgfix.yamltext import Mark, YamlPath, dotted

#: pydantic's words are Python's; these are YAML's.
_FRIENDLY = {
    "bool_type": "true or false is needed here; yes, no, on and off are words, not booleans",
    "model_type": "a mapping of settings is needed here",
    "dict_type": "a mapping is needed here: name: value",
    "tuple_type": "a list is needed here: [one, two]",
    "string_type": "a word is needed here; quote it if it looks like something else",
    "int_type": "a whole number is needed here",
    "missing": "is needed and missing",
}


def problems(
    error: ValidationError,
    marks: Mapping[YamlPath, Mark],
    source: str,
    forms: Mapping[str, str] | None = None,
    *,
    missing: bool = True,
    model: type[BaseModel] | None = None,
) -> str:
    """Return the complaints of `error`, a line each, or "" if there are none.

    `source` names the document where no mark fits, `forms` says what the models' patterns stand for; `missing` False
    leaves out what is merely not there yet. `model` is what was validated: its keys may be meant by unknown ones.
    """
    details = [dict(detail) for detail in error.errors(include_url=False)]
    kept = [d for d in details if missing or not str(d["type"]).startswith("missing")]
    kept.sort(key=lambda detail: _order(marks, detail))
    return "\n".join(_problem(marks, detail, source, forms or {}, model) for detail in kept)


def _order(marks: Mapping[YamlPath, Mark], detail: Mapping[str, object]) -> tuple[int, int]:
    where = marks.get(_place(marks, detail)[1])
    return (where.line, where.column) if where is not None else (0, 0)


def _place(marks: Mapping[YamlPath, Mark], detail: Mapping[str, object]) -> tuple[YamlPath, YamlPath]:
    """Return the YAML path of a complaint, and what of it there is a mark for."""
    location = detail["loc"]
    assert isinstance(location, tuple)
    location = tuple(part for part in location if part != "[key]")  # pydantic's mark of a wrong key
    path = location
    while path and path not in marks:
        path = path[:-1]
    return location, path


def _problem(
    marks: Mapping[YamlPath, Mark],
    detail: dict[str, object],
    source: str,
    forms: Mapping[str, str],
    model: type[BaseModel] | None,
) -> str:
    location, path = _place(marks, detail)
    where = marks.get(path) or source
    value = f" (given: {detail['input']!r})" if isinstance(detail["input"], str | int | float | bool) else ""
    if detail["type"] == "extra_forbidden":
        return f"{where}: {dotted(location)}: unknown key{_meant(location, model)}"
    return f"{where}: {dotted(location)}: {_friendly(detail, forms)}{value}"


def _meant(location: YamlPath, model: type[BaseModel] | None) -> str:
    """Return the key that an unknown one may stand for, as a question; nothing where none is near."""
    for part in location[:-1]:
        field = model.model_fields.get(str(part)) if model is not None else None
        kind = field.annotation if field is not None else None
        model = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
    near = difflib.get_close_matches(str(location[-1]), model.model_fields, 1) if model is not None else []
    return f"; did you mean {near[0]}?" if near else ""


def _friendly(detail: dict[str, object], forms: Mapping[str, str]) -> str:
    context = detail.get("ctx")
    if detail["type"] == "string_pattern_mismatch" and isinstance(context, dict):
        return f"{forms[context['pattern']]} is needed here"
    if detail["type"] in ("enum", "literal_error") and isinstance(context, dict):
        return f"{str(context['expected']).replace(chr(39), '')} is needed here"
    return _FRIENDLY.get(str(detail["type"]), str(detail["msg"]).removeprefix("Value error, "))
