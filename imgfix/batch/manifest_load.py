"""Reading a manifest, or a folder, into the images of a batch. Errors carry file, line, column and YAML path."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from imgfix import profile_load, yamlmodel, yamltext
from imgfix.batch.image import Image, setting_words
from imgfix.batch.manifest import Manifest, Options, Row
from imgfix.disk.fault import host_errors
from imgfix.errors import ProfileError, UsageError
from imgfix.yamltext import Document, Mark

#: What a folder's disks are called. The output's name drops it: `web.example.com` is a name, `web.raw` has a format.
IMAGE_SUFFIXES = frozenset(
    {".raw", ".img", ".vhd", ".dd", ".bin", ".disk", ".qcow2", ".qcow", ".vmdk", ".vhdx", ".vdi", ".ova"}
)
#: The folder of results below that of the outputs.
RESULTS = "imgfix-batch"
#: A file larger than this (bytes) is no manifest: somebody gave a disk.
_MAX_BYTES = 8 << 20
_HINT = "`imgfix batch --help` shows how it is called; docs/batch.md has a manifest with every key"

_T = TypeVar("_T")
_NONE = Options()


@dataclass(frozen=True, slots=True)
class Batch:
    """What is to be done: `origin` names the manifest or folder, `results` is the folder of the result files."""

    origin: str
    images: tuple[Image, ...]
    results: Path


@dataclass(frozen=True, slots=True)
class _Planned:
    """An image in the making; `mark` is where its last row stands."""

    source: Path
    mark: str
    rows: tuple[Row, ...]
    by_pattern: bool


@dataclass(frozen=True, slots=True)
class _Frame:
    """What all rows of a manifest share. Paths of the manifest are relative to `base`."""

    base: Path
    output: Path
    results: Path
    shared: tuple[Options, ...]
    given: Options
    settings: tuple[str, ...]
    checked: set[tuple[str, tuple[str, ...]]] = field(default_factory=set)


def load(path: Path, given: Options = _NONE, settings: tuple[str, ...] = ()) -> Batch:
    """Read the manifest at `path`; `given` and `settings` (KEY=VALUE) are the command line's, and for every image.

    Raises UsageError with the positions of all that is wrong in it.
    """
    document = yamltext.parse(_text(path), str(path))
    try:
        manifest = Manifest.model_validate(document.data)
    except ValidationError as error:
        raise UsageError(yamlmodel.problems(error, document.marks, str(path)), hint=_HINT) from error
    base = path.absolute().parent
    output = base / manifest.output
    results = base / manifest.results if manifest.results else output / RESULTS
    shared = (Options(profile=manifest.profile), manifest.defaults)
    frame = _Frame(base, output, results, shared, given, settings)
    planned = _planned(manifest, document, frame)
    return Batch(str(path), _finished(planned, frame), results)


def from_folder(
    profile: str, folder: Path, output: Path, given: Options = _NONE, settings: tuple[str, ...] = ()
) -> Batch:
    """Make a batch of all disk images in `folder`; `given` and `settings` as for `load`. Raises UsageError."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: is no folder of disk images", hint=_HINT)
    if output.exists() and output.samefile(folder):
        raise UsageError(
            f"{output}: the outputs would lie among the images, and be taken for images by the next run",
            hint="name another folder for the outputs",
        )
    sources = sorted(p for p in folder.iterdir() if p.suffix in IMAGE_SUFFIXES and p.name[0] != ".")
    files = [path.absolute() for path in sources if path.is_file()]
    if not files:
        raise UsageError(
            f"{folder}: no disk image in it", hint=f"images end in {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    output = output.absolute()
    results = output / RESULTS
    frame = _Frame(Path.cwd(), output, results, (Options(profile=profile),), given, settings)
    planned = [_Planned(source, str(source), (), True) for source in files]
    return Batch(str(folder), _finished(planned, frame), results)


def _text(path: Path) -> str:
    if path.is_dir():
        raise UsageError(f"{path}: is a folder, not a manifest", hint="imgfix batch PROFILE DIR OUTDIR")
    if not path.exists():
        raise UsageError(f"{path}: there is no such manifest", hint=_HINT)
    with host_errors("reading the manifest", path):
        if path.stat().st_size > _MAX_BYTES:
            raise UsageError(
                f"{path}: {path.stat().st_size} bytes, at most {_MAX_BYTES} can be a manifest", hint=_HINT
            )
        data = path.read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text, so no manifest", hint=_HINT) from error


def _planned(manifest: Manifest, document: Document, frame: _Frame) -> list[_Planned]:
    """Expand the rows. A row changes what patterns above it have named, and adds what they have not."""
    planned: list[_Planned] = []
    for number, row in enumerate(manifest.images):
        mark = document.marks["images", number]
        pattern = glob.has_magic(row.image) and not (frame.base / row.image).exists()
        sources = _matches(row, mark, frame) if pattern else [frame.base / row.image]
        if pattern and row.output is not None and len(sources) > 1:
            raise UsageError(
                f"{mark}: images[{number}].output: {row.image} names {len(sources)} images, and an output is for one"
            )
        for source in sources:
            old = next((p for p in planned if p.source == source and p.by_pattern), None)
            if old is None:
                planned.append(_Planned(source, str(mark), (row,), pattern))
                continue
            planned[planned.index(old)] = replace(
                old, mark=str(mark), rows=(*old.rows, row), by_pattern=pattern
            )
    return planned


def _matches(row: Row, mark: Mark, frame: _Frame) -> list[Path]:
    """Return the files that a pattern names, sorted; none of the outputs, and nothing hidden."""
    # Path.glob matches hidden files, too
    names = sorted(glob.glob(row.image, root_dir=frame.base, recursive=True))  # noqa: PTH207
    paths = [frame.base / name for name in names]
    inside = frame.output.resolve()
    output_is_source_folder = inside == frame.base.resolve()
    found = [
        path
        for path in paths
        if path.is_file() and (output_is_source_folder or inside not in path.resolve().parents)
    ]
    if not found:
        raise UsageError(
            f"{mark}: {row.image}: there is no such file below {frame.base}",
            hint="files in the output folder do not count",
        )
    return found


def _finished(planned: Sequence[_Planned], frame: _Frame) -> tuple[Image, ...]:
    images = tuple(_image(index, item, frame) for index, item in enumerate(planned))
    _refuse_clashes(images, [item.mark for item in planned])
    return images


def _image(index: int, item: _Planned, frame: _Frame) -> Image:
    options = (*frame.shared, *item.rows, frame.given)
    named = next((row.output for row in reversed(item.rows) if row.output), None)
    output = frame.output / (named or f"{_stem(item.source)}.vhd")
    profile = _last(option.profile for option in options)
    if profile is None:
        raise UsageError(f"{item.mark}: {item.source.name}: no profile is given, neither here nor above")
    merged = {key: value for option in options for key, value in option.set.items()}
    packages = _last(option.packages for option in options)
    network = _last(option.network for option in options)
    keys = _last(option.keys for option in options) or ()
    image = Image(
        index=index,
        name=output.name,
        source=item.source,
        output=output,
        results=frame.results,
        profile=_profile(profile, frame),
        settings=(*setting_words(merged), *frame.settings),
        mode=_last(option.mode for option in options),
        packages=frame.base / packages if packages else None,
        network=network is not False,
        keys=tuple(frame.base / key for key in keys),
    )
    _check_profile(image, item.mark, frame)
    return image


def _last(values: Iterable[_T | None]) -> _T | None:
    """Return the last of `values` that says something."""
    said = [value for value in values if value is not None]
    return said[-1] if said else None


def _stem(source: Path) -> str:
    return source.stem if source.suffix in IMAGE_SUFFIXES else source.name


def _profile(name: str, frame: _Frame) -> str:
    """Return the profile's path, or its name where it is a bundled one: another machine has those elsewhere."""
    beside = frame.base / name
    if name == profile_load.AUTO or not beside.is_file():
        return name
    return str(beside)


def _check_profile(image: Image, mark: str, frame: _Frame) -> None:
    """Load it now: a wrong setting is told before anything starts."""
    key = (image.profile, image.settings)
    if key in frame.checked:
        return
    try:
        if image.profile == profile_load.AUTO:
            profile_load.load_bundled(image.settings)
        else:
            profile_load.load(image.profile, image.settings)
    except ProfileError as error:
        raise UsageError(f"{mark}: {image.source.name}: {error.message}", hint=error.hint) from error
    frame.checked.add(key)


def _refuse_clashes(images: Sequence[Image], marks: Sequence[str]) -> None:
    """Two images with one output, or an output that is a source, would destroy one another."""
    sources = {image.source.resolve(): mark for image, mark in zip(images, marks, strict=True)}
    for what, taken in (("output", [i.output for i in images]), ("name", [Path(i.name) for i in images])):
        seen: dict[Path, int] = {}
        for number, path in enumerate(taken):
            first = seen.setdefault(path, number)
            if first != number:
                raise UsageError(
                    f"{marks[number]}: {images[number].source.name} and {images[first].source.name} ({marks[first]}) "
                    f"have the same {what}: {path}",
                    hint="give one of them another `output` in the manifest",
                )
    for image, mark in zip(images, marks, strict=True):
        if image.output.resolve() in sources:
            raise UsageError(
                f"{mark}: the output {image.output} is itself an image of this batch, which imgfix never writes",
                hint="name another output folder",
            )
