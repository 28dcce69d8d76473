"""Loading profiles: files, `extends`, `--set`, and errors that point at the line."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from pydantic import BaseModel, ValidationError

from imgfix import yamlmodel, yamltext
from imgfix.errors import ProfileError
from imgfix.packaging import want
from imgfix.profile import (
    ABSOLUTE,
    HOST_NAME,
    INTERFACE,
    SERIAL_PORT,
    VERSION_NUMBER,
    VERSIONS,
    AddRemove,
    Profile,
)
from imgfix.profile_sources import with_sources
from imgfix.profile_tables import FILE_MODE, ORIGINS, OWNER
from imgfix.textedit import kernel_args
from imgfix.yamltext import Document, Mark, Value, YamlPath

#: Instead of a profile's name: the bundled one that suits the guest.
AUTO = "auto"

#: A file larger than this (bytes) is no profile: somebody gave the disk first.
_MAX_BYTES = 1 << 20

#: What the patterns of the models stand for.
_FORMS = {
    ABSOLUTE: "a path that begins with /",
    VERSIONS: "a condition such as '>=7', '>=6.4,<7' or '==2 | >=2022'",
    SERIAL_PORT: "a serial port such as ttyS0",
    INTERFACE: "the name of a network interface such as eth0",
    HOST_NAME: "a host name",
    FILE_MODE: "a mode in quotes, such as '0644',",
    OWNER: "an owner such as root:root",
    VERSION_NUMBER: "a version such as 2.2.53.1",
}

_HINT = "`imgfix profile show azure` shows every section with its values"


@dataclass(frozen=True, slots=True)
class _Layer:
    """Settings and where each comes from."""

    data: dict[str, Value]
    marks: dict[YamlPath, Mark]


def bundled_folder() -> Path:
    """Return the folder of the profiles that come with imgfix: in the wheel, or in a checkout."""
    inside = Path(__file__).parent / "profiles"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "profiles"


def bundled_names() -> tuple[str, ...]:
    """Return the names of the bundled profiles, sorted."""
    return tuple(sorted(path.stem for path in bundled_folder().glob("*.yaml")))


def load(name: str, settings: Sequence[str] = ()) -> Profile:
    """Load the profile `name`, a path or a bundled name, with `KEY=VALUE` settings on top.

    Raises ProfileError with file, line, column and YAML path.
    """
    layer = _load_file(find(name), ())
    for setting in settings:
        layer = _merge(layer, _checked(_from_setting(setting)))
    return with_sources(_validated(layer, str(find(name))), layer.marks)


def load_bundled(settings: Sequence[str] = ()) -> tuple[Profile, ...]:
    """Load every bundled profile with `KEY=VALUE` settings on top: what AUTO chooses among."""
    return tuple(load(str(bundled_folder() / f"{name}.yaml"), settings) for name in bundled_names())


def find(name: str) -> Path:
    """Return the file of profile `name`: a path that exists, else a bundled name, with or without .yaml."""
    path = Path(name)
    if path.is_file():
        return path
    bundled = _bundled(name)
    if bundled is not None:
        return bundled
    what = (
        "is a folder, not a profile" if path.is_dir() else "no such profile, neither a file nor a bundled one"
    )
    if name == AUTO:
        raise ProfileError(
            f"{name}: is no profile, but the wish for the one that suits a guest: only commands with a disk choose",
            hint=f"bundled profiles: {', '.join(bundled_names())}",
        )
    near = difflib.get_close_matches(name.removesuffix(".yaml"), bundled_names(), 1)
    meant = f"did you mean {near[0]}? " if near else ""
    raise ProfileError(f"{name}: {what}", hint=f"{meant}bundled profiles: {', '.join(bundled_names())}")


def _bundled(name: str) -> Path | None:
    path = bundled_folder() / f"{name.removesuffix('.yaml')}.yaml"
    return path if "/" not in name and path.is_file() else None


def _load_file(path: Path, above: tuple[Path, ...]) -> _Layer:
    if any(path.samefile(p) for p in above):
        chain = " -> ".join(str(p) for p in (*above, path))
        raise ProfileError(f"{path}: extends itself: {chain}")
    document = _read(path)
    base = document.data.pop("extends", None)
    if not isinstance(base, str | None):
        raise ProfileError(f"{document.marks[('extends',)]}: extends: the name of one profile is needed here")
    layer = _checked(_Layer(document.data, document.marks))
    layer.data.setdefault("name", path.stem)
    if base is None:
        return layer
    return _merge(_load_file(_find_base(base, path, document), (*above, path)), layer)


def _find_base(base: str, path: Path, document: Document) -> Path:
    beside = path.parent / f"{base.removesuffix('.yaml')}.yaml"
    try:
        # A profile named like the one that it extends means the bundled one, not itself.
        if beside.is_file() and not (beside.samefile(path) and _bundled(base)):
            return beside
        return _bundled(base) or find(base)
    except ProfileError as error:
        raise ProfileError(
            f"{document.marks[('extends',)]}: extends: {error.message}", hint=error.hint
        ) from error


def _read(path: Path) -> Document:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ProfileError(
                f"{path}: {path.stat().st_size} bytes, at most {_MAX_BYTES} can be a profile",
                hint="the profile comes first, then the disk: imgfix apply PROFILE DISK",
            )
        content = path.read_bytes()
    except OSError as error:
        raise ProfileError(
            f"{path}: cannot be read as a profile: {error.strerror}",
            hint="the profile comes first, then the disk: imgfix apply PROFILE DISK",
        ) from error
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line, byte = content.count(b"\n", 0, error.start) + 1, content[error.start]
        is_binary = b"\0" in content
        raise ProfileError(
            f"{path}: cannot be read as a profile: is not UTF-8 text: byte 0x{byte:02x} in line {line}",
            hint="the profile comes first, then the disk: imgfix apply PROFILE DISK"
            if is_binary
            else "save it as UTF-8",
        ) from error
    return yamltext.parse(text, str(path))


def _from_setting(setting: str) -> _Layer:
    """Make a layer of `swap.size_mib=4096`; the value is YAML, so lists and null can be given."""
    key, equals, text = setting.partition("=")
    path = _path(key.strip())
    source = f"--set {setting}"
    if not equals or not all(path):
        raise ProfileError(f"{source}: KEY=VALUE is needed", hint="for example --set swap.size_mib=4096")
    parsed = yamltext.parse(f"value: {text}" if text.strip() else "value: ''", source)
    value: Value = parsed.data["value"]
    for part in reversed(path):
        value = {part: value}
    marks: dict[YamlPath, Mark] = {path[:depth]: Mark(source, 0, 0) for depth in range(len(path) + 1)}
    return _Layer(value if isinstance(value, dict) else {}, marks)


def _path(key: str) -> tuple[str, ...]:
    """Cut a key at its dots, as far as there are sections: waagent.values.Logs.Verbose has three parts."""
    parts: list[str] = []
    section: type[BaseModel] | None = Profile
    while section is not None and "." in key:
        part, _, key = key.partition(".")
        parts.append(part)
        field = section.model_fields.get(part)
        section = field.annotation if field is not None and _is_model(field.annotation) else None
    return (*parts, key)


def _is_model(annotation: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


#: The sections that are lists to be edited, not values to be replaced.
_LIST_EDITS = frozenset(
    name
    for name, field in Profile.model_fields.items()
    if _is_model(field.annotation) and issubclass(field.annotation, AddRemove)
)


def _merge(base: _Layer, top: _Layer) -> _Layer:
    data = _merged(base.data, top.data)
    for name in _LIST_EDITS & base.data.keys() & top.data.keys():
        below, section = _section(base, name), _section(top, name)
        if name in _OVERRIDES:
            below = _without_overridden(below, _words(section, "add"), _OVERRIDES[name])
        data[name] = _merged_lists(below, section, _MATCHES.get(name, _matches))
    if "files" in base.data and "files" in top.data:
        data["files"] = _merged(
            _without_replaced(_section(base, "files"), _section(top, "files")), _section(top, "files")
        )
    return _Layer(data, {**base.marks, **top.marks})


def _merged(base: dict[str, Value], top: dict[str, Value]) -> dict[str, Value]:
    """Mappings merge key by key, everything else is replaced."""
    result = dict(base)
    for key, value in top.items():
        below = base.get(key)
        result[key] = _merged(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return result


def _without_replaced(below: dict[str, Value], top: dict[str, Value]) -> dict[str, Value]:
    """Drop from inherited files the origin that a later layer replaces: `source` over `content`."""
    result = dict(below)
    for path, file in top.items():
        old = result.get(path)
        if isinstance(old, dict) and isinstance(file, dict) and any(name in file for name in ORIGINS):
            result[path] = {key: value for key, value in old.items() if key not in ORIGINS}
    return result


def _section(layer: _Layer, name: str) -> dict[str, Value]:
    section = layer.data[name]
    return section if isinstance(section, dict) else {}


def _matches(word: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(word, pattern) for pattern in patterns)


#: Sections where an added word takes the place of an earlier one: rootdelay=9 of rootdelay=300.
_OVERRIDES: dict[str, Callable[[str, str], bool]] = {
    "kernel_args": kernel_args.overrides,
    "packages": want.overrides,
}

#: Sections where `remove` does not match the whole word.
_MATCHES: dict[str, Callable[[str, Sequence[str]], bool]] = {"packages": want.matches}


def _without_overridden(
    below: dict[str, Value], new: list[Value], overrides: Callable[[str, str], bool]
) -> dict[str, Value]:
    """Drop the added words that a later layer sets anew."""
    add = [old for old in _words(below, "add") if not any(overrides(str(word), str(old)) for word in new)]
    return {**below, "add": add}


def _merged_lists(
    below: dict[str, Value], value: dict[str, Value], matches: Callable[[str, Sequence[str]], bool]
) -> dict[str, Value]:
    """Merge as AddRemove says: what `value` removes is no longer added, what it adds is no longer removed."""
    gone = [str(pattern) for pattern in _words(value, "remove")]
    add = [w for w in _words(below, "add") if not matches(str(w), gone)]
    remove = [
        p for p in _words(below, "remove") if not any(matches(str(w), [str(p)]) for w in _words(value, "add"))
    ]
    return {
        **_merged(below, value),
        "add": _unique(add, _words(value, "add")),
        "remove": _unique(remove, _words(value, "remove")),
    }


def _words(section: dict[str, Value], side: str) -> list[Value]:
    words = section.get(side, [])
    return words if isinstance(words, list) else []


def _unique(first: Sequence[Value], second: Sequence[Value]) -> list[Value]:
    return [*first, *(w for w in second if w not in first)]


def _checked(layer: _Layer) -> _Layer:
    """Refuse what is wrong in this layer alone, where positions inside lists are still its own."""
    try:
        Profile.model_validate(layer.data)
    except ValidationError as error:
        if found := yamlmodel.problems(error, layer.marks, "", _FORMS, missing=False, model=Profile):
            raise ProfileError(found, hint=_HINT) from error
    return layer


def _validated(layer: _Layer, source: str) -> Profile:
    try:
        return Profile.model_validate(layer.data)
    except ValidationError as error:
        raise ProfileError(
            yamlmodel.problems(error, layer.marks, source, _FORMS, model=Profile), hint=_HINT
        ) from error
