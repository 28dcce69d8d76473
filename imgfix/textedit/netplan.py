"""/etc/netplan/*.yaml: the definitions of interfaces, and taking some of them out.

Grammar: YAML with one key `network`, https://netplan.readthedocs.io/en/stable/netplan-yaml/: below it `version`,
`renderer`, and groups (ethernets, bonds, ...) that map names to settings.

Lines go by the positions that the YAML parser reports. The result is loaded again and compared: what cannot be taken
out without a change to anything else ends in a ParseError, not in a guess.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import yaml

from imgfix.errors import ParseError

#: Keys of `network` that are no groups of definitions.
_SETTINGS = frozenset({"version", "renderer", "openvswitch"})

# What PyYAML raises on scalars it cannot convert, besides YAMLError: `2020-99-99`, `!!int ""`.
_LOAD_ERRORS = (
    *(yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError),
)


@dataclass(frozen=True, slots=True)
class Definition:
    """One interface: `name` is its key in the group (ethernets, bonds, ...); `line` is 1-based."""

    line: int
    group: str
    name: str
    settings: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class _Pair:
    """One key with its value, as nodes of the YAML parser."""

    key: yaml.Node
    value: yaml.Node


def definitions(text: str) -> tuple[Definition, ...]:
    """Return what `text` defines. Raises ParseError, with the line, on what netplan could not read."""
    data = _network(text)
    found: list[Definition] = []
    for group in _pairs(_network_node(text)):
        if _name(group) in _SETTINGS or not isinstance(group.value, yaml.MappingNode):
            continue
        loaded = data.get(_name(group))
        for pair in _pairs(group.value):
            settings = loaded.get(pair.key.value) if isinstance(loaded, dict) else None
            if settings is not None and not isinstance(settings, dict):
                raise ParseError(f"netplan: {pair.key.value} is not a mapping", line=_line(pair.key))
            found.append(Definition(_line(pair.key), _name(group), _name(pair), settings or {}))
    return tuple(found)


def renderer(text: str) -> str | None:
    """Return the renderer that `text` sets for all its definitions, or None."""
    value = _network(text).get("renderer")
    return None if value is None else str(value)


def is_bare(text: str) -> bool:
    """Tell whether `text` says nothing: no definition and no setting but `version`."""
    return not [key for key, value in _network(text).items() if key != "version" and value is not None]


def without(text: str, drop: Callable[[Definition], bool]) -> str:
    """Return `text` without the definitions for which `drop` holds, and without groups left empty."""
    doomed = {(d.group, d.name) for d in definitions(text) if drop(d)}
    if not doomed:
        return text
    new = text
    while pair := _doomed(new, doomed):
        new = _removed(new, *pair)
    if _network(new) != _reduced(_network(text), doomed):
        raise ParseError("netplan: definitions cannot be taken out without changing anything else")
    return new


def _doomed(text: str, doomed: set[tuple[str, str]]) -> tuple[yaml.MappingNode, _Pair] | None:
    """Return the next pair to remove and the mapping it stands in: a definition, or a group of doomed ones only."""
    network = _network_node(text)
    for group in _pairs(network):
        if not isinstance(group.value, yaml.MappingNode):
            continue
        pairs = _pairs(group.value)
        mine = [pair for pair in pairs if (_name(group), _name(pair)) in doomed]
        if mine and network is not None:
            return (network, group) if len(mine) == len(pairs) else (group.value, mine[0])
    return None


def _removed(text: str, mapping: yaml.MappingNode, pair: _Pair) -> str:
    if mapping.flow_style:
        return _removed_inline(text, mapping, pair)
    start = text.rfind("\n", 0, pair.key.start_mark.index) + 1
    last = _end(pair)
    end = text.find("\n", last) + 1 or len(text)
    if text[start : pair.key.start_mark.index].strip(" ") or not re.fullmatch(
        r"[ \t\r]*(#[^\n]*)?\n?", text[last:end]
    ):
        raise ParseError(f"netplan: {_name(pair)} does not have lines of its own", line=_line(pair.key))
    return text[:start] + text[end:]


def _removed_inline(text: str, mapping: yaml.MappingNode, pair: _Pair) -> str:
    pairs = _pairs(mapping)
    index = next(i for i, one in enumerate(pairs) if one.key.start_mark.index == pair.key.start_mark.index)
    start, end = pair.key.start_mark.index, _end(pair)
    if index:
        start = _end(pairs[index - 1])
    elif len(pairs) > 1:
        end = pairs[1].key.start_mark.index
    if "#" in text[start : pair.key.start_mark.index] + text[_end(pair) : end]:
        raise ParseError("netplan: a comment inside a mapping in braces", line=_line(pair.key))
    return text[:start] + text[end:]


def _end(pair: _Pair) -> int:
    """Return the offset behind a pair; a missing value ends where its key does, behind the colon."""
    return max(_node_end(pair.value), int(pair.key.end_mark.index))


def _node_end(node: yaml.Node) -> int:
    """Return the offset behind a node. A block's own end mark lies behind the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(_Pair(*last)) if isinstance(node, yaml.MappingNode) else _node_end(last)
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        return int(node.end_mark.index) - (node.end_mark.column == 0)
    return int(node.end_mark.index)


def _reduced(network: Mapping[str, object], doomed: set[tuple[str, str]]) -> dict[str, object]:
    result: dict[str, object] = {}
    for key, value in network.items():
        mine = {name for group, name in doomed if group == key}
        if isinstance(value, dict) and mine:
            value = {name: settings for name, settings in value.items() if str(name) not in mine}
            if not value:
                continue
        result[key] = value
    return result


def _network(text: str) -> dict[str, object]:
    """Return what `network` holds, loaded; empty for an empty file."""
    try:
        data = yaml.safe_load(text)
    except _LOAD_ERRORS as error:
        raise _parse_error(error) from error
    network = data.get("network") if isinstance(data, dict) else None
    if data is not None and not (isinstance(data, dict) and isinstance(network, dict | None)):
        raise ParseError("netplan: network is not a mapping", line=1)
    return {str(key): value for key, value in network.items()} if network else {}


def _network_node(text: str) -> yaml.MappingNode | None:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except _LOAD_ERRORS as error:
        raise _parse_error(error) from error
    values = [pair.value for pair in _pairs(root) if pair.key.value == "network"]
    # Of two equal keys PyYAML takes the last.
    return values[-1] if values and isinstance(values[-1], yaml.MappingNode) else None


def _pairs(node: yaml.Node | None) -> list[_Pair]:
    return [_Pair(key, value) for key, value in node.value] if isinstance(node, yaml.MappingNode) else []


def _name(pair: _Pair) -> str:
    return str(pair.key.value)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _parse_error(error: Exception) -> ParseError:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).split("\n", 1)[0]
    return ParseError(f"netplan: {problem}", line=mark.line + 1 if mark else None)
