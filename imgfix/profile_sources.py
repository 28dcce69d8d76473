"""Files of this host that a profile gives to the guest: read when the profile is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from imgfix.errors import ProfileError
from imgfix.profile import Profile
from imgfix.profile_tables import File
from imgfix.yamltext import Mark, YamlPath

#: A file larger than this (bytes) is no configuration, and the whole of it is kept in memory.
_MAX_SOURCE = 16 << 20


def with_sources(profile: Profile, marks: Mapping[YamlPath, Mark]) -> Profile:
    """Return `profile` with the content of what its files name as their source; `marks` says where each was named.

    Raises ProfileError for what is missing, too large or cannot be read.
    """
    loaded: dict[str, File | None] = {}
    for path, file in profile.files.items():
        if file is not None and file.source is not None:
            # --set gives a file as a whole
            mark = marks.get(("files", path, "source")) or marks["files", path]
            file = file.loaded(_source(file.source, mark))
        loaded[path] = file
    return profile.model_copy(update={"files": loaded})


def _source(name: str, mark: Mark) -> bytes:
    """Return the bytes of the host's file `name`, beside the profile that names it."""
    path = Path(mark.source).parent / name if mark.line else Path(name)
    try:
        if not path.is_file():  # a pipe would be waited for
            raise ProfileError(
                f"{mark}: {path}: there is no such file, needed as the content of a guest's file"
            )
        size = path.stat().st_size
        if size > _MAX_SOURCE:
            raise ProfileError(
                f"{mark}: {path}: {size} bytes, at most {_MAX_SOURCE} can be given to the guest",
                hint="have the guest fetch what is large at its first boot: first_boot",
            )
        return path.read_bytes()
    except OSError as error:
        raise ProfileError(f"{mark}: {path}: cannot be read: {error.strerror}") from error
