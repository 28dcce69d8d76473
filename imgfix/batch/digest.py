"""What an image was made of, as hashes: whether a rerun has anything to do is told by these."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from imgfix import __version__, profile_load
from imgfix.batch.image import Image
from imgfix.batch.result import Content, Inputs
from imgfix.disk.fault import host_errors
from imgfix.disk.source import open_regular
from imgfix.disk.sparse import data_extents
from imgfix.profile import Profile

_BLOCK = 1 << 20
_ZEROS = bytes(_BLOCK)


def content(path: Path, known: Content | None = None) -> Content:
    """Return the size, stamp and digest of a disk image; `known` is taken for it while its stamp is the same.

    The digest is sha256 over the index (8 bytes, big-endian) and the bytes of every MiB that is not all zeros, then
    the size: it does not depend on which zeros are holes, and a sparse disk takes the time of its data.
    Raises UsageError for what is no regular file, HostError for what cannot be read.
    """
    fd = open_regular(path)
    try:
        status = os.fstat(fd)
        stamp = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
        if known is not None and (known.size, known.stamp) == (status.st_size, stamp):
            return known
        with host_errors("reading it for its digest", path):
            digest = _digest(fd, status.st_size)
        return Content(size=status.st_size, sha256=digest, stamp=stamp)
    finally:
        os.close(fd)


def _digest(fd: int, size: int) -> str:
    digest = hashlib.sha256()
    for index in _blocks(fd, size):
        block = os.pread(fd, _BLOCK, index * _BLOCK)
        if block != _ZEROS[: len(block)]:
            digest.update(index.to_bytes(8, "big"))
            digest.update(block)
    digest.update(size.to_bytes(8, "big"))
    return digest.hexdigest()


def _blocks(fd: int, size: int) -> Iterator[int]:
    """Yield the indexes of the blocks that hold data, each once."""
    after = 0
    for extent in data_extents(fd, size):
        first, end = extent.start // _BLOCK, -(-extent.end // _BLOCK)
        yield from range(max(first, after), end)
        after = max(after, end)


def inputs(image: Image, known: Content | None = None) -> Inputs:
    """Return what makes the result of `image`; `known` is what an earlier run found of its source."""
    return Inputs(
        imgfix=__version__,
        source=content(image.source, known),
        profile=_profile(image),
        options=_options(image),
    )


def _profile(image: Image) -> str:
    """sha256 of the settings as they are in the end: `extends`, `set` and the files that it names are in it."""
    settings = [*image.settings, *([f"mode={image.mode}"] if image.mode else [])]
    if image.profile == profile_load.AUTO:
        profiles = profile_load.load_bundled(settings)
    else:
        profiles = (profile_load.load(image.profile, settings),)
    return hashlib.sha256("\n".join(_settled(profile) for profile in profiles).encode()).hexdigest()


def _settled(profile: Profile) -> str:
    files = {
        path: hashlib.sha256(file.data).hexdigest() if file is not None and file.link is None else None
        for path, file in profile.files.items()
    }
    return profile.model_dump_json() + json.dumps(files, sort_keys=True)


def _options(image: Image) -> str:
    """sha256 of what else decides about an apply: the network, the packages given to it, the files of keys."""
    folder = image.packages
    files = sorted(folder.rglob("*")) if folder is not None and folder.is_dir() else []
    rows = [f"{p} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in (*files, *image.keys) if p.is_file()]
    return hashlib.sha256("\n".join([str(image.network), *rows]).encode()).hexdigest()
