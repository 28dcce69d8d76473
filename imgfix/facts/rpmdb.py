"""rpmdb: the packages in rpm's database, read without rpm, in each of its three formats."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from imgfix import tree as guest
from imgfix.errors import GuestError
from imgfix.facts import bdb, ndb
from imgfix.facts.model import Package
from imgfix.facts.rpmheader import read_header
from imgfix.tree import Tree

#: %_dbpath: the usual one, that of SUSE and Fedora 36 and later, and that of rpm-ostree.
FOLDERS = ("/var/lib/rpm", "/usr/lib/sysimage/rpm", "/usr/share/rpm")

#: Under key 0 rpm's Berkeley DB keeps a counter of 4 bytes; the smallest header is one with one entry.
_SMALLEST_HEADER = 24

#: Bytes of all headers together. A damaged database can point to one value from every key.
HEADERS_LIMIT = 2 * 1024**3

#: sqlite counts virtual machine steps: a table scan of 100,000 packages takes some millions.
_SQLITE_STEPS = 100_000_000


def read_rpmdb(tree: Tree) -> tuple[Package, ...]:
    """Return the installed packages by name; empty where rpm has no database.

    The database is read whole into memory (some 20-200 MB). Raises GuestError where it is damaged.
    """
    found = {read_header(blob, path) for path, blob in read_headers(tree)}
    return tuple(sorted(found, key=lambda package: (package.name, package.version)))


def read_headers(tree: Tree) -> Iterator[tuple[str, bytes]]:
    """Yield the database's file and the header of each installed package; nothing where rpm has no database."""
    for folder in FOLDERS:
        for name, read in READERS:
            path = f"{folder}/{name}"
            if guest.is_file(tree, path):
                yield from ((path, blob) for blob in _bounded(read(tree, path), path))
                return


def _bounded(blobs: Iterator[bytes], path: str) -> Iterator[bytes]:
    total = 0
    for blob in blobs:
        total += len(blob)
        if total > HEADERS_LIMIT:
            raise GuestError(f"{path}: damaged rpm database (more than {HEADERS_LIMIT} bytes of headers)")
        yield blob


def _sqlite(tree: Tree, path: str) -> Iterator[bytes]:
    """The write-ahead log belongs to the data: a guest that was not shut down cleanly has packages in it."""
    with tempfile.TemporaryDirectory(prefix="imgfix-") as folder:
        copy = Path(folder, "rpmdb.sqlite")
        copy.write_bytes(guest.read(tree, path))
        if guest.is_file(tree, f"{path}-wal"):
            copy.with_name("rpmdb.sqlite-wal").write_bytes(guest.read(tree, f"{path}-wal"))
        try:
            with closing(sqlite3.connect(copy)) as database:
                yield from _rows(database, path)
        except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:
            raise GuestError(f"{path}: damaged rpm database ({error})") from error


def _rows(database: sqlite3.Connection, path: str) -> Iterator[bytes]:
    """The schema is the guest's: a view named Packages could compute anything, so only a table is read."""
    database.execute("PRAGMA trusted_schema = OFF")
    database.set_progress_handler(lambda: 1, _SQLITE_STEPS)
    kinds = database.execute("SELECT type, sql FROM sqlite_master WHERE name = 'Packages'").fetchall()
    if [kind for kind, _ in kinds] != ["table"] or "virtual" in str(kinds[0][1]).lower():
        raise GuestError(f"{path}: no table of packages in the rpm database")
    for (blob,) in database.execute("SELECT blob FROM Packages"):
        if not isinstance(blob, bytes):
            raise GuestError(f"{path}: damaged rpm database (a header that is no blob)")
        yield blob


def _whole(blobs: Callable[[bytes, str], Iterator[bytes]], tree: Tree, path: str) -> Iterator[bytes]:
    found = blobs(guest.read(tree, path), path)
    return (blob for blob in found if len(blob) >= _SMALLEST_HEADER)


#: Newest format first: a converted database leaves the old file behind now and then.
READERS: tuple[tuple[str, Callable[[Tree, str], Iterator[bytes]]], ...] = (
    ("rpmdb.sqlite", _sqlite),
    ("Packages.db", partial(_whole, ndb.blobs)),
    ("Packages", partial(_whole, bdb.blobs)),
)
