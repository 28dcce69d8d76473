"""Digests of whole disks: holes are hashed without being read, two files side by side."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from imgfix.disk.fault import host_errors
from imgfix.disk.sparse import data_extents

_PIECE = 4 << 20
_ZEROS = bytes(_PIECE)


def sha256(path: Path) -> str:
    """Return the hexadecimal digest of the file at `path`; raises HostError where it cannot be read."""
    digest = hashlib.sha256()
    with host_errors("its digest", path), path.open("rb", buffering=0) as stream:
        size, at = path.stat().st_size, 0
        for extent in data_extents(stream.fileno(), size):
            _hole(digest, extent.start - at)
            stream.seek(extent.start)
            at = extent.start
            while at < extent.end and (piece := stream.read(min(_PIECE, extent.end - at))):
                digest.update(piece)
                at += len(piece)
        _hole(digest, size - at)
    return digest.hexdigest()


def _hole(digest: hashlib._Hash, length: int) -> None:
    while length > 0:
        digest.update(_ZEROS if length >= _PIECE else _ZEROS[:length])
        length -= _PIECE


def digests(first: Path, second: Path) -> tuple[str, str]:
    """Return the digests of two files, made at the same time: hashing lets other threads run."""
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(sha256, (first, second))
    return one, two
