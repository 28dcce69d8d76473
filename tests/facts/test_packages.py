"""Package databases: dpkg's text, and rpm's three formats.

rpmdb.sqlite.xz is a database of rpm 4.18: two packages made by rpmbuild (`alpha` with epoch 7,
`WALinuxAgent`), installed with `rpm --root R -i --justdb --nodeps --noscripts *.rpm`, then
R/var/lib/rpm/rpmdb.sqlite packed by xz -9e.
"""

from __future__ import annotations

import contextlib
import lzma
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfix.errors import GuestError
from imgfix.facts import rpmdb
from imgfix.facts.dpkg import parse
from imgfix.facts.model import Package
from imgfix.facts.packages import read_packages
from imgfix.facts.rpmheader import read_header
from tests.facts.rpm_writer import bdb, header, ndb
from tests.fake_tree import FakeEntry, FakeTree, link

SQLITE = lzma.decompress(Path(__file__).with_name("rpmdb.sqlite.xz").read_bytes())
SQLITE_PACKAGES = (Package("WALinuxAgent", "2.12.1~rc1-3.el9"), Package("alpha", "2.5.1~rc1-3.el9"))

STATUS = """Package: waagent
Status: install ok installed
Architecture: amd64
Version: 2:2.2.45-4+deb11u1
Description: agent
 Package: not-me
 .
 Status: text

Package: held
Status: hold ok installed
Version: 1.0-1

Package: gone
Status: deinstall ok config-files
Version: 3

Package: broken
Status: install reinstreq half-installed
Version: 3

Package: half
Status: install ok half-configured
Version: 3

Package: triggered
Status: install ok triggers-pending
Version: 4:1:2

Package: leaving
Status: deinstall ok installed
Version: 5
"""


def read(files: dict[str, bytes | str | FakeEntry]) -> tuple[Package, ...]:
    return read_packages(FakeTree(files))


def test_no_database_is_no_package() -> None:
    assert read({}) == ()


def test_dpkg_status() -> None:
    assert read({"/var/lib/dpkg/status": STATUS}) == (
        Package("held", "1.0-1"),
        Package("leaving", "5"),
        Package("triggered", "1:2"),
        Package("waagent", "2.2.45-4+deb11u1"),
    )


def test_dpkg_status_folder_of_distroless_images() -> None:
    files: dict[str, bytes | str | FakeEntry] = {
        "/var/lib/dpkg/status.d/base": "Package: base-files\nVersion: 12\n",
        "/var/lib/dpkg/status.d/base.md5sums": "Package: x\n",
    }
    assert read(files) == (Package("base-files", "12"),)


def test_two_architectures_of_one_package_are_one() -> None:
    stanza = "Package: libc6\nStatus: install ok installed\nVersion: 2.36\nArchitecture: "
    assert read({"/var/lib/dpkg/status": f"{stanza}amd64\n\n{stanza}i386\n"}) == (Package("libc6", "2.36"),)


@given(st.text())
def test_any_text_is_a_status_file(text: str) -> None:
    assert all(package.name is not None for package in parse(text))


PACKED: dict[str, Callable[..., bytes]] = {"Packages.db": ndb, "Packages": bdb}


@pytest.mark.parametrize("folder", ["/var/lib/rpm", "/usr/lib/sysimage/rpm", "/usr/share/rpm"])
def test_a_database_of_real_rpm(folder: str) -> None:
    assert read({f"{folder}/rpmdb.sqlite": SQLITE}) == SQLITE_PACKAGES


@pytest.mark.parametrize("name", PACKED)
def test_the_other_formats_hold_the_same(tmp_path: Path, name: str) -> None:
    with contextlib.closing(connect(tmp_path)) as database:
        blobs = [blob for (blob,) in database.execute("SELECT blob FROM Packages")]
    assert read({f"/var/lib/rpm/{name}": PACKED[name](*blobs)}) == SQLITE_PACKAGES


def connect(folder: Path) -> sqlite3.Connection:
    path = folder / "rpmdb.sqlite"
    path.write_bytes(SQLITE)
    return sqlite3.connect(path)


def test_the_write_ahead_log_is_read(tmp_path: Path) -> None:
    with contextlib.closing(connect(tmp_path)) as database:
        database.execute("INSERT INTO Packages (blob) VALUES (?)", (header("late", "1", "2"),))
        database.commit()
        files: dict[str, bytes | str | FakeEntry] = {
            f"/var/lib/rpm/{path.name}": path.read_bytes() for path in tmp_path.iterdir()
        }
    assert len(files["/var/lib/rpm/rpmdb.sqlite-wal"]) > 0  # type: ignore[arg-type]
    assert Package("late", "1-2") in read(files)


def test_a_linked_folder_and_a_stale_older_format() -> None:
    files: dict[str, bytes | str | FakeEntry] = {
        "/var/lib/rpm": link("../../usr/lib/sysimage/rpm"),
        "/usr/lib/sysimage/rpm/rpmdb.sqlite": SQLITE,
        "/usr/lib/sysimage/rpm/Packages": bdb(header("stale", "1", "1")),
    }
    assert read(files) == SQLITE_PACKAGES


def test_dpkg_goes_first_unless_it_has_nothing() -> None:
    both: dict[str, bytes | str | FakeEntry] = {"/var/lib/rpm/rpmdb.sqlite": SQLITE}
    assert read({**both, "/var/lib/dpkg/status": ""}) == SQLITE_PACKAGES
    assert Package("held", "1.0-1") in read({**both, "/var/lib/dpkg/status": STATUS})


BLOBS = [header("small", "1", "1"), header("large", "2", "1.el7", 5000), header("large2", "3", "1", 486 * 2)]
BLOBS_PACKAGES = (Package("large", "2-1.el7"), Package("large2", "3-1"), Package("small", "1-1"))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("page", [512, 4096])
def test_berkeley_db(order: str, page: int) -> None:
    assert read({"/var/lib/rpm/Packages": bdb(*BLOBS, order=order, page=page)}) == BLOBS_PACKAGES


def test_ndb() -> None:
    assert read({"/var/lib/rpm/Packages.db": ndb(*BLOBS)}) == BLOBS_PACKAGES
    assert read({"/var/lib/rpm/Packages.db": ndb()}) == ()


def test_a_version_without_release() -> None:
    assert read_header(header("gpg-pubkey", "1", ""), "db") == Package("gpg-pubkey", "1")


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"\0" * 8,
        b"\xff" * 40,
        header("a", "1", "1")[:-1],
        header("a", "1", "1")[:-1] + b"x",
        header("a", "1", "1").replace(b"\0\0\3\xe8\0\0\0\6\0\0\0\0", b"\0\0\3\xe8\0\0\0\6\0\0\1\0"),
    ],
)
def test_damaged_headers_are_refused(blob: bytes) -> None:
    with pytest.raises(GuestError, match="db: damaged rpm header"):
        read_header(blob, "db")


def looping_bdb() -> bytes:
    data = bytearray(bdb(header("large", "2", "1", 5000)))
    data[1024 + 16 : 1024 + 20] = (2).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("Packages", b"", "truncated Berkeley DB"),
        ("Packages", bdb(*BLOBS)[:24], "truncated Berkeley DB"),
        ("Packages", bytes(4096), "no Berkeley DB hash"),
        ("Packages", bdb(*BLOBS)[:-512], "beyond the end"),
        ("Packages", bdb(*BLOBS)[:24] + b"\1" + bdb(*BLOBS)[25:], "encrypted"),
        ("Packages", looping_bdb(), "damaged"),
        ("Packages.db", b"", "truncated ndb"),
        ("Packages.db", bytes(4096), "no ndb database"),
        ("Packages.db", ndb(*BLOBS)[:2000], "truncated ndb"),
        ("Packages.db", ndb(*BLOBS)[:-4096], "damaged package|truncated ndb"),
        ("rpmdb.sqlite", b"", "no table of packages"),
        ("rpmdb.sqlite", b"x" * 5000, "damaged rpm database"),
        ("rpmdb.sqlite", SQLITE[:9000], "damaged rpm database"),
    ],
)
def test_damaged_databases_are_refused(name: str, data: bytes, message: str) -> None:
    with pytest.raises(GuestError, match=message) as caught:
        read({f"/var/lib/rpm/{name}": data})
    assert caught.value.message.startswith(f"/var/lib/rpm/{name}: ")


def sqlite(tmp_path: Path, script: str) -> dict[str, bytes | str | FakeEntry]:
    path = tmp_path / "x.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript(script)
    return {"/var/lib/rpm/rpmdb.sqlite": path.read_bytes()}


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("CREATE VIEW Packages AS SELECT randomblob(100000000) AS blob", "no table"),
        ("CREATE VIRTUAL TABLE Packages USING fts5(blob)", "no table"),
        ("CREATE TABLE Other (blob)", "no table"),
        ("CREATE TABLE Packages (hnum, blob); INSERT INTO Packages VALUES (1, 'text')", "no blob"),
        ("CREATE TABLE Packages (hnum, blob); INSERT INTO Packages VALUES (1, x'00')", "damaged rpm header"),
        ("CREATE TABLE Packages (hnum)", "damaged rpm database"),
    ],
)
def test_hostile_schemas_are_refused(tmp_path: Path, script: str, message: str) -> None:
    with pytest.raises(GuestError, match=message):
        read(sqlite(tmp_path, script))


@pytest.mark.parametrize("name", PACKED)
def test_many_keys_of_one_value_are_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(rpmdb, "HEADERS_LIMIT", 6000)
    with pytest.raises(GuestError, match="more than 6000 bytes"):
        read({f"/var/lib/rpm/{name}": PACKED[name](*BLOBS, *BLOBS)})


DATABASES = [("Packages", bdb(*BLOBS)), ("Packages.db", ndb(*BLOBS)), ("rpmdb.sqlite", SQLITE[: 40 * 4096])]
EDITS = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=6)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(DATABASES), EDITS, st.integers(0, 2**16))
def test_mutated_databases_give_packages_or_a_guest_error(
    named: tuple[str, bytes], edits: list[tuple[int, int]], cut: int
) -> None:
    name, seed = named
    data = bytearray(seed)
    for at, value in edits:
        data[at % len(data)] = value
    if cut % 4 == 0:
        del data[cut % len(data) :]
    with contextlib.suppress(GuestError):
        assert all(package.name for package in read({f"/var/lib/rpm/{name}": bytes(data)}))
