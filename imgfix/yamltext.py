"""YAML with positions: duplicate keys refused, booleans told apart, and every value's line and column known."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import yaml
from yaml.reader import ReaderError

from imgfix.errors import ProfileError

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"
YamlPath: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a value stands: file name, line and column, both 1-based."""

    source: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed mapping and the position of each of its values by YAML path."""

    data: dict[str, Value]
    marks: dict[YamlPath, Mark]


#: More values than this are no settings: aliases of aliases multiply ("billion laughs").
_MAX_VALUES = 20_000

#: PyYAML raises these too, on scalars that it cannot convert: `!!int ""`, `2020-99-99`.
_SCALAR_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)

#: What PyYAML says, in words for those who write profiles.
_PROBLEMS = {
    "found character '\\t' that cannot start any token": "a tab stands here; YAML is indented by spaces"
}
#: What PyYAML was in the middle of, by a word of its message.
_CONTEXTS = (
    ("flow sequence", "the list"),
    ("flow mapping", "the mapping"),
    ("quoted scalar", "the quoted text"),
)

_KINDS = {yaml.ScalarNode: "a single value", yaml.SequenceNode: "a list"}


class _Loader(yaml.SafeLoader):
    """YAML 1.2's idea of a boolean: true and false; `yes`, `no`, `on`, `y` are words (Norway problem)."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag not in ("tag:yaml.org,2002:bool",)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))


def parse(text: str, source: str) -> Document:
    """Parse `text`, named `source` in errors, which must be a mapping; raises ProfileError with positions."""
    document = _remembered(text, source)
    return Document(copy.deepcopy(document.data), dict(document.marks))


# `auto` loads every bundled profile, and nearly all extend the same one.
@functools.lru_cache(maxsize=32)
def _remembered(text: str, source: str) -> Document:
    try:
        return _parse(_Loader(text), source)
    except RecursionError as error:
        raise ProfileError(f"{source}: values are nested too deeply") from error
    except ReaderError as error:
        # It counts characters from the beginning; everything else has a line and a column.
        before, character = text[: error.position], ord(text[error.position])
        line, column = before.count("\n") + 1, error.position - before.rfind("\n")
        raise ProfileError(
            f"{source}:{line}:{column}: the character U+{character:04X} cannot be in YAML",
            hint="the profile comes first, then the disk: imgfix apply PROFILE DISK",
        ) from error
    except (yaml.YAMLError, *_SCALAR_ERRORS) as error:
        raise ProfileError(_yaml_message(error, source)) from error


def _parse(loader: _Loader, source: str) -> Document:
    node = loader.get_single_node()
    if node is None or (isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")):
        return Document({}, {})
    if not isinstance(node, yaml.MappingNode):
        raise ProfileError(
            f"{_mark(node, source)}: a mapping of settings is needed here, not {_KINDS[type(node)]}"
        )
    marks: dict[YamlPath, Mark] = {}
    for count, (path, mark) in enumerate(_walk(node, source, (), frozenset()), 1):
        if count > _MAX_VALUES:
            raise ProfileError(f"{mark}: more than {_MAX_VALUES} values; do aliases repeat one another?")
        marks[path] = mark
    return Document(loader.construct_document(node), marks)


def _walk(
    node: yaml.Node, source: str, path: YamlPath, above: frozenset[int]
) -> Iterator[tuple[YamlPath, Mark]]:
    if id(node) in above:
        raise ProfileError(f"{_mark(node, source)}: an alias leads back to itself")
    inside = above | {id(node)}
    yield path, _mark(node, source)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _walk(item, source, (*path, index), inside)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, Mark] = {}
    for key, value in node.value:
        here = _mark(key, source)
        if not isinstance(key, yaml.ScalarNode):
            raise ProfileError(f"{here}: {dotted(path)}: a key must be a word")
        name = str(key.value)
        if key.tag != "tag:yaml.org,2002:str":
            raise ProfileError(
                f"{here}: {dotted((*path, name))}: a key must be a word; quote it if it is meant"
            )
        if name in seen:
            first = f"line {seen[name].line}"
            raise ProfileError(f"{here}: {dotted((*path, name))}: duplicate key; first given at {first}")
        seen[name] = here
        yield from _walk(value, source, (*path, name), inside)
        yield (*path, name), here


def _mark(node: yaml.Node, source: str) -> Mark:
    return Mark(source, node.start_mark.line + 1, node.start_mark.column + 1)


def _yaml_message(error: Exception, source: str) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or f"a value that cannot be read: {error}"
    problem = _PROBLEMS.get(problem, problem) + _begun(error)
    return f"{source}:{mark.line + 1}:{mark.column + 1}: {problem}" if mark else f"{source}: {problem}"


def _begun(error: Exception) -> str:
    """Say where the list or text begins in which an error was met: what is missing belongs there."""
    began = getattr(error, "context_mark", None)
    context = getattr(error, "context", None) or ""
    noun = next((noun for word, noun in _CONTEXTS if word in context), None)
    return f"; {noun} begins at line {began.line + 1}, column {began.column + 1}" if began and noun else ""


def dotted(path: YamlPath) -> str:
    """Return a YAML path as people write it: kernel_args.add[2]."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "(the whole file)"
