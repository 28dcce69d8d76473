"""Digests of whole disks: holes are hashed without being read, and other work goes on meanwhile."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from imgfix.disk.fault import host_errors
from imgfix.disk.sparse import data_extents

_PIECE = 4 << 20
_ZEROS = bytes(_PIECE)


class Digest:
    """The SHA-256 of a file, made in the background: hashing lets other threads run. A context manager.

    `result()` waits for it; leaving the context before gives it up.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._given_up = threading.Event()
        self._pool = ThreadPoolExecutor(1)
        self._future: Future[str] = self._pool.submit(self._made)

    def __enter__(self) -> Digest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._given_up.set()
        self._pool.shutdown()

    def result(self) -> str:
        """Return the hexadecimal digest; raises HostError where the file cannot be read."""
        return self._future.result()

    def _made(self) -> str:
        digest = hashlib.sha256()
        with host_errors("its digest", self._path), self._path.open("rb", buffering=0) as stream:
            size, at = self._path.stat().st_size, 0
            for extent in data_extents(stream.fileno(), size):
                self._hole(digest, extent.start - at)
                stream.seek(extent.start)
                at = extent.start
                while at < extent.end and not self._given_up.is_set():
                    piece = stream.read(min(_PIECE, extent.end - at))
                    if not piece:
                        break
                    digest.update(piece)
                    at += len(piece)
            self._hole(digest, size - at)
        return digest.hexdigest()

    def _hole(self, digest: hashlib._Hash, length: int) -> None:
        while length > 0 and not self._given_up.is_set():
            digest.update(_ZEROS if length >= _PIECE else _ZEROS[:length])
            length -= _PIECE
