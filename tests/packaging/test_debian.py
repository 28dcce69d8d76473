"""Debian packages: control files, .deb archives of every compression, and what meets what as apt sees it."""

from __future__ import annotations

import contextlib
import gzip
import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from imgfix.errors import GuestError
from imgfix.packaging import debian
from imgfix.packaging.model import AnyOf, Package, Relation
from imgfix.packaging.world import Index, World
from tests.fake_tree import FakeTree
from tests.packaging import debs
from tests.packaging.test_versions import DEB

CONTROL = """Package: waagent
Version: 1:2.7.3.0-4.1
Architecture: all
Installed-Size: 1235
Depends: python3:any (>= 3.2~), fdisk | util-linux (<< 2.29.2-3~),
 openssl
Pre-Depends: init-system-helpers (>= 1.54~)
Provides: agent (= 2), azure-agent
Conflicts: network-manager, walinuxagent
Breaks: cloud-init (<< 20)
Multi-Arch: foreign
"""


@pytest.mark.parametrize("compressor", ["gzip", "xz", "zstd", "none"])
def test_a_real_package_is_read(tmp_path: Path, compressor: str) -> None:
    path = debs.build(tmp_path, CONTROL, compressor=compressor)
    with path.open("rb") as stream:
        found = debian.read_deb(stream, "sub/w.deb")
    assert (found.name, found.version, found.architecture) == ("waagent", "1:2.7.3.0-4.1", "all")
    assert found.needs == (
        Relation("python3", ">=", "3.2~", "any"),
        AnyOf((Relation("fdisk"), Relation("util-linux", "<<", "2.29.2-3~"))),
        Relation("openssl"),
    )
    assert found.first == (Relation("init-system-helpers", ">=", "1.54~"),)
    assert found.provides == (Relation("agent", "=", "2"), Relation("azure-agent"))
    assert [str(c) for c in found.conflicts] == ["network-manager", "walinuxagent", "cloud-init (<< 20)"]
    assert (found.size, found.shared, found.essential, found.file) == (1235 * 1024, True, False, "sub/w.deb")


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return debs.build(tmp_path_factory.mktemp("deb"), CONTROL, compressor="xz").read_bytes()


def test_a_download_that_was_cut_short_is_told_wherever_it_ends(deb: bytes) -> None:
    for length in (0, 5, 8, 40, 67, 68, 80, 400, len(deb) // 2, len(deb) - 2):
        with pytest.raises(GuestError, match=r"^w\.deb: "):
            debian.read_deb(io.BytesIO(deb[:length]), "w.deb")


@settings(deadline=None)
@given(st.data())
def test_damage_is_told_and_never_more(deb: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(deb) - 1))
    broken = deb[:at] + bytes([data.draw(st.integers(0, 255))]) + deb[at + 1 :]
    with contextlib.suppress(GuestError):
        assert debian.read_deb(io.BytesIO(broken), "w.deb").name


def _ar(name: str, content: bytes) -> bytes:
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
    return b"!<arch>\n" + header + content + b"\n" * (len(content) % 2)


def test_a_small_package_cannot_fill_the_memory() -> None:
    bomb = _ar("control.tar.gz", gzip.compress(bytes(debian.CONTROL_LIMIT + 1)))
    assert len(bomb) < 1 << 20
    with pytest.raises(GuestError, match="more than"):
        debian.read_deb(io.BytesIO(bomb), "w.deb")


def test_a_package_without_a_control_file_is_none() -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("./md5sums"))
    with pytest.raises(GuestError, match="no control file"):
        debian.read_deb(io.BytesIO(_ar("control.tar", archive.getvalue())), "w.deb")


def test_every_package_of_this_host_is_read_as_dpkg_reads_it(tmp_path: Path) -> None:
    status = Path("/var/lib/dpkg/status").read_text()
    (tmp_path / "status").write_text(status)  # the host's may change meanwhile
    system = debian.read_system(FakeTree({"/var/lib/dpkg/status": status}))
    assert system is not None
    shown = "${db:Status-Status} ${Package} ${Version} ${Architecture} ${Essential}\n"
    query = ("dpkg-query", f"--admindir={tmp_path}", "-W", "-f", shown)
    lines = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
    wanted = {tuple(line.split()[1:]) for line in lines if line.startswith("installed ")}
    assert {(p.name, p.version, p.architecture) for p in system.packages} == {row[:3] for row in wanted}
    assert {row[0] for row in wanted if row[3] == "yes"} <= {p.name for p in system.packages if p.essential}
    native = ("dpkg", "--print-architecture")
    assert (
        system.architecture
        == subprocess.run(native, capture_output=True, text=True, check=True).stdout.strip()
    )


def test_no_dpkg_is_no_system() -> None:
    assert debian.read_system(FakeTree({})) is None


def test_interrupted_packages_are_told() -> None:
    status = (
        "Package: a\nStatus: install ok half-configured\nVersion: 1\nArchitecture: amd64\n\n"
        "Package: b\nStatus: install ok installed\nVersion: 1\nArchitecture: arm64\n\n"
        "Package: c\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: amd64\n"
    )
    system = debian.read_system(FakeTree({"/var/lib/dpkg/status": status}))
    assert system is not None
    assert (system.unfinished, system.architecture) == (("a",), "arm64")
    assert [p.name for p in system.packages] == ["b"]


@pytest.mark.parametrize("text", ["a (1)", "a b", "(>= 1)", "a (>= )", "a (=> 1)", "a [amd64"])
def test_what_is_no_relation_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(GuestError, match=r"^status: .* is no relation"):
        debian.parse_needs(text, "status")


def test_old_operators_mean_or_equal() -> None:
    assert [str(n) for n in debian.parse_needs("a (< 1), b (> 2)", "x")] == ["a (<= 1)", "b (>= 2)"]


@pytest.mark.parametrize("field", ["Package", "Version", "Architecture"])
def test_a_stanza_that_lacks_a_field_is_refused(field: str) -> None:
    fields = {"package": "a", "version": "1", "architecture": "all"}
    del fields[field.lower()]
    with pytest.raises(GuestError, match=field):
        debian.package(fields, "x")


OPERATORS = ("", "<<", "<=", "=", ">=", ">>")


@settings(max_examples=8, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(
    st.lists(
        st.tuples(DEB, st.sampled_from(["", "provided", "versioned"]), st.sampled_from(OPERATORS), DEB),
        min_size=60,
        max_size=120,
    )
)
def test_needs_are_met_as_apt_says(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str, str]]
) -> None:
    stanzas, needs = [], []
    for number, (version, kind, operator, needed) in enumerate(rows):
        provides = {
            "": "",
            "provided": f"Provides: v{number}\n",
            "versioned": f"Provides: v{number} (= {version})\n",
        }
        own = f"v{number}" if not kind else f"p{number}"
        stanzas.append(f"Package: {own}\nVersion: {version}\nArchitecture: amd64\n{provides[kind]}")
        needs.append(f"v{number} ({operator} {needed})" if operator else f"v{number}")
    stanzas.append(f"Package: asker\nVersion: 1\nArchitecture: amd64\nDepends: {', '.join(needs)}")
    status = debs.installed(stanzas)
    system = debian.read_system(FakeTree({"/var/lib/dpkg/status": status}))
    assert system is not None
    world = World(Index(system.dialect, system.packages), frozenset(system.packages))
    (asker,) = (p for p in system.packages if p.name == "asker")
    mine = {n.name for n in asker.needs if isinstance(n, Relation) and not world.holds(n)}
    assert mine == debs.unmet(tmp_path_factory.mktemp("apt"), status)


def _package(name: str, architecture: str, *, shared: bool = False) -> Package:
    return Package(name, "1", architecture, shared=shared)


@pytest.mark.parametrize(
    ("package", "needed", "served"),
    [
        (_package("a", "amd64"), "", True),
        (_package("a", "all"), "", True),
        (_package("a", "i386"), "", False),
        (_package("a", "i386", shared=True), "", True),
        (_package("a", "i386"), "any", True),
        (_package("a", "i386"), "i386", True),
        (_package("a", "amd64"), "i386", False),
        (_package("a", "amd64"), "native", True),
    ],
)
def test_architectures(package: Package, needed: str, served: bool) -> None:
    assert debian.Dpkg("amd64").serves(package, Relation("a", architecture=needed)) is served
