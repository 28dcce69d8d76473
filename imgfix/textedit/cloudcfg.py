"""/etc/cloud/cloud.cfg: cloud-init's lists of modules, edited in place.

Grammar: YAML 1.1 as PyYAML reads it, which cloud-init uses. A module in a list is a name, `[name,
frequency, ...]` or a mapping with `name` (`Modules._read_modules` in
https://github.com/canonical/cloud-init/blob/main/cloudinit/config/modules.py); dash and underscore are
equal.

Edits are made at the positions the YAML parser reports, one module at a time, and the result is loaded
again and compared with the old structure: whatever cannot be edited by lines ends in a ParseError, not in a
guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import yaml
from yaml.reader import ReaderError

from imgfix.errors import ParseError
from imgfix.textedit import physical_lines

MODULE_LISTS = ("cloud_init_modules", "cloud_config_modules", "cloud_final_modules")

#: The order of cloud_init_modules upstream: https://github.com/canonical/cloud-init/blob/main/config/cloud.cfg.tmpl
UPSTREAM_ORDER = (
    *("migrator", "seed_random", "bootcmd", "write_files", "growpart", "resizefs", "disk_setup", "mounts"),
    *("set_hostname", "update_hostname", "update_etc_hosts", "resolv_conf", "ca_certs", "rsyslog"),
    *("users_groups", "ssh"),
)

# What PyYAML raises on scalars it cannot convert, besides YAMLError: `2020-99-99`, `!!int ""`.
_LOAD_ERRORS = (
    yaml.YAMLError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


@dataclass(frozen=True, slots=True)
class _Item:
    """One module in a list: its canonical name, and its source's offsets in the text."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Modules:
    """One list of modules: the offsets of its value (`[...]` if `flow`) and of the end of its key."""

    items: tuple[_Item, ...]
    flow: bool
    start: int
    end: int
    key_end: int


def top_level(text: str) -> dict[str, object]:
    """Return `text` loaded; empty for an empty file. Raises ParseError if it is not a YAML mapping."""
    try:
        data = yaml.safe_load(text)
    except _LOAD_ERRORS as error:
        raise _parse_error(error, text) from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ParseError("cloud.cfg: the top level is not a mapping", line=1)
    return data


def move_modules(text: str, names: Sequence[str], *, to: str = "cloud_init_modules") -> str:
    """Return `text` so that each of `names` is in the list `to` and in no other list of modules.

    A module keeps its frequency and the comment on its line; it goes behind those that come before it
    upstream. One that is in no list is added. Raises ParseError if `to` is missing or the text cannot be
    edited so that nothing but the modules' places changes.
    """
    order = sorted({_canonical(name) for name in names}, key=lambda name: (_rank(name), name))
    old = top_level(text)
    new = text
    for name in order:
        new = _moved(new, name, to)
    if new == text:
        return text
    try:
        same = _same_but_for(old, top_level(new), set(order), to)
    except RecursionError:
        # Anchors can make a structure that holds itself.
        same = False
    if not same:
        raise ParseError("cloud.cfg: cannot move the modules without changing anything else")
    return new


def _moved(text: str, name: str, to: str) -> str:
    """Return `text` with one module moved."""
    lists = _lists(text, to)
    if to not in lists:
        raise ParseError(f"cloud.cfg: there is no list {to}")
    item = next((item for item in lists[to].items if item.name == name), None)
    if item is None:
        item = next((item for modules in lists.values() for item in modules.items if item.name == name), None)
        source, comment = (text[item.start : item.end], _comment(text, item.end)) if item else (name, "")
        index = _place(lists[to], name) if to == "cloud_init_modules" else len(lists[to].items)
        text = _inserted(text, lists[to], index, source, comment)
    while True:
        lists = _lists(text, to)
        stray = next(_strays(lists, name, to), None)
        if stray is None:
            return text
        text = _removed(text, *stray)


def _strays(lists: dict[str, _Modules], name: str, to: str) -> Iterator[tuple[_Modules, int]]:
    for key, modules in lists.items():
        for index, item in enumerate(modules.items):
            if key != to and item.name == name:
                yield modules, index


def _lists(text: str, to: str) -> dict[str, _Modules]:
    """Return the lists of modules in `text` by key. Raises ParseError on one that is no list of modules."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except _LOAD_ERRORS as error:
        raise _parse_error(error, text) from error
    if not isinstance(root, yaml.MappingNode):
        return {}
    wanted = {*MODULE_LISTS, to}
    # Of two equal keys PyYAML takes the last, and so does a dict.
    return {key.value: _modules(key, value) for key, value in root.value if key.value in wanted}


def _modules(key: yaml.Node, value: yaml.Node) -> _Modules:
    start, end = value.start_mark.index, value.end_mark.index
    if isinstance(value, yaml.ScalarNode) and value.tag.endswith(":null") and start == end:
        return _Modules((), False, start, end, key.end_mark.index)
    if not isinstance(value, yaml.SequenceNode):
        raise ParseError(f"cloud.cfg: {key.value} is not a list", line=value.start_mark.line + 1)
    items = tuple(_Item(_name(node), node.start_mark.index, node.end_mark.index) for node in value.value)
    return _Modules(items, bool(value.flow_style), start, end, key.end_mark.index)


def _name(node: yaml.Node) -> str:
    """Return the canonical name of a module in a list."""
    if isinstance(node, yaml.SequenceNode) and node.value:
        node = node.value[0]
    elif isinstance(node, yaml.MappingNode):
        node = next((value for key, value in node.value if key.value == "name"), node)
    if not isinstance(node, yaml.ScalarNode):
        raise ParseError("cloud.cfg: a module without a name", line=node.start_mark.line + 1)
    return _canonical(node.value)


def _canonical(name: str) -> str:
    return name.strip().replace("-", "_")


def _rank(name: str) -> int:
    return UPSTREAM_ORDER.index(name) if name in UPSTREAM_ORDER else len(UPSTREAM_ORDER)


def _place(modules: _Modules, name: str) -> int:
    """Return the index at which `name` belongs: behind the last module that comes before it upstream."""
    rank = _rank(name)
    if rank == len(UPSTREAM_ORDER):
        return len(modules.items)
    return max((index for index, item in enumerate(modules.items, 1) if _rank(item.name) < rank), default=0)


def _inserted(text: str, modules: _Modules, index: int, source: str, comment: str) -> str:
    """Return `text` with a module, given as source and its line's comment, put into a list at `index`."""
    if "\n" in source:
        raise ParseError(f"cloud.cfg: the module {source!r} is written over several lines")
    items = modules.items
    if not items:
        if modules.flow:
            return text[: modules.start] + f"[{source}]" + text[modules.end :]
        colon = text.index(":", modules.key_end) + 1
        return f"{text[:colon]} [{source}]{text[colon:]}"
    if modules.flow:
        at, piece = (items[index - 1].end, f", {source}") if index else (items[0].start, f"{source}, ")
        return text[:at] + piece + text[at:]
    neighbour = items[max(index - 1, 0)]
    start, end = _line_span(text, neighbour)
    dash = text[start : neighbour.start]
    line = dash + source + comment + physical_lines.newline(text)
    if index == 0:
        return text[:start] + line + text[start:]
    gap = "" if text[:end].endswith("\n") else physical_lines.newline(text)
    return text[:end] + gap + line + text[end:]


def _removed(text: str, modules: _Modules, index: int) -> str:
    """Return `text` without one module of a list; a list that is left empty becomes `[]`."""
    items = modules.items
    item = items[index]
    if modules.flow:
        start, end = item.start, item.end
        if index:
            start = items[index - 1].end
        elif len(items) > 1:
            end = items[1].start
        between = text[start : item.start] + text[item.end : end]
        if between.strip() not in ("", ","):
            raise ParseError("cloud.cfg: a comment inside a list in brackets")
        return text[:start] + text[end:]
    start, end = _line_span(text, item)
    text = text[:start] + text[end:]
    if len(items) > 1:
        return text
    colon = text.index(":", modules.key_end) + 1
    return f"{text[:colon]} []{text[colon:]}"


def _line_span(text: str, item: _Item) -> tuple[int, int]:
    """Return the offsets of the whole lines of a block list's item. Raises ParseError if it shares them."""
    start = text.rfind("\n", 0, item.start) + 1
    end = text.find("\n", item.end) + 1 or len(text)
    alone = re.fullmatch(r"[ ]*-[ \t]+", text[start : item.start])
    if not alone or not re.fullmatch(r"[ \t]*(#[^\n]*)?\r?\n?", text[item.end : end]):
        number = physical_lines.number(text, item.start)
        raise ParseError("cloud.cfg: a module that does not have a line of its own", line=number)
    return start, end


def _comment(text: str, end: int) -> str:
    """Return the comment on a module's line, with the blanks before it; empty if there is none."""
    match = re.match(r"[ \t]+#[^\r\n]*", text[end:])
    return match[0] if match else ""


def _same_but_for(old: dict[str, object], new: dict[str, object], names: set[str], to: str) -> bool:
    """Tell whether `new` is `old` with all of `names` in the list `to` only, and nothing else changed."""
    wanted = {*MODULE_LISTS, to}
    for key in wanted & {*old, *new}:
        before, after = _entries(old.get(key)), _entries(new.get(key))
        if [entry for entry in before if entry[0] not in names] != [
            entry for entry in after if entry[0] not in names
        ]:
            return False
        moved = {name for name, _ in after} & names
        if moved != (names if key == to else set()):
            return False
    known = [entry for key in wanted for entry in _entries(old.get(key)) if entry[0] in names]
    moved_to = [entry for entry in _entries(new.get(to)) if entry[0] in names]
    kept = all(entry in known or entry[0] not in {name for name, _ in known} for entry in moved_to)
    rest = {key: value for key, value in old.items() if key not in wanted}
    return kept and rest == {key: value for key, value in new.items() if key not in wanted}


def _entries(modules: object) -> list[tuple[str, object]]:
    """Return a loaded list of modules as (canonical name, entry as written)."""
    entries = modules if isinstance(modules, list) else []
    return [(_loaded_name(entry), entry) for entry in entries]


def _loaded_name(entry: object) -> str:
    if isinstance(entry, list):
        entry = entry[0] if entry else ""
    elif isinstance(entry, dict):
        entry = entry.get("name", "")
    return _canonical(str(entry))


def _parse_error(error: Exception, text: str) -> ParseError:
    if isinstance(error, ReaderError):
        # It counts characters; a byte that is no UTF-8 was read as a surrogate (PEP 383).
        line, code = text.count("\n", 0, error.position) + 1, ord(text[error.position])
        what = (
            f"the byte 0x{code - 0xDC00:02x} is no UTF-8"
            if 0xDC80 <= code <= 0xDCFF
            else f"U+{code:04X} is no YAML"
        )
        return ParseError(f"cloud.cfg: {what}", line=line)
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).split("\n", 1)[0]
    return ParseError(f"cloud.cfg: {problem}", line=mark.line + 1 if mark else None)
