from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgfix.errors import ParseError
from imgfix.textedit import fstab, table_fields

from .garbage import or_refused, texts

DEBIAN = """\
# /etc/fstab: static file system information.
#
# <file system> <mount point>   <type>  <options>       <dump>  <pass>
# / was on /dev/vda1 during installation
UUID=3c1a7a5e-0b5d-4f0c-8f43-0f1f5a3d8e11 /               ext4    errors=remount-ro 0       1
# swap was on /dev/vda5 during installation
UUID=b5b1e3ce-2a3a-4f0c-9d53-3d2b5b9d3f1a none            swap    sw              0       0
/dev/sr0        /media/cdrom0   udf,iso9660 user,noauto     0       0
"""
EL9 = """\

#
# /etc/fstab
# Created by anaconda on Mon May 13 09:12:01 2024
#
/dev/mapper/rhel-root   /                       xfs     defaults        0 0
UUID=0f5a1c7e-91b7-4a3a-8c1c-2d7a0f6c7b55 /boot                   xfs     defaults        0 0
/dev/mapper/rhel-swap   none                    swap    defaults        0 0
"""
SUSE = """\
UUID=1-2  /              btrfs  defaults                      0  0
UUID=1-2  /.snapshots    btrfs  subvol=/@/.snapshots          0  0
UUID=3-4  swap           swap   defaults                      0  0
"""


def entries(text: str) -> list[fstab.Entry]:
    return [line.entry for line in fstab.parse(text) if line.entry]


def test_parse_real_files() -> None:
    root, swap, cdrom = entries(DEBIAN)
    assert root == fstab.Entry(5, root.spec, "/", "ext4", ("errors=remount-ro",), 0, 1)
    assert (swap.file, swap.vfstype, cdrom.options) == ("none", "swap", ("user", "noauto"))
    assert [entry.spec for entry in entries(EL9)][::2] == ["/dev/mapper/rhel-root", "/dev/mapper/rhel-swap"]
    assert "".join(line.text for line in fstab.parse(EL9)) == EL9


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("a /b c", fstab.Entry(1, "a", "/b", "c")),
        ("a /b c d", fstab.Entry(1, "a", "/b", "c", ("d",))),
        ("\ta\t/b c d,e 1\n", fstab.Entry(1, "a", "/b", "c", ("d", "e"), 1)),
        ("a /b c d 1 2 # comment\r\n", fstab.Entry(1, "a", "/b", "c", ("d",), 1, 2)),
        ("LABEL=a\\040b /c\\040d e f", fstab.Entry(1, "LABEL=a b", "/c d", "e", ("f",))),
        ('a /b c context="x,y",d', fstab.Entry(1, "a", "/b", "c", ('context="x,y"', "d"))),
        ("# a /b c", None),
        ("  # a /b c", None),
        (" \t\r\n", None),
    ],
)
def test_parse_line(line: str, entry: fstab.Entry | None) -> None:
    assert fstab.parse(line)[0].entry == entry


@pytest.mark.parametrize(
    "line", ["/dev/sda1", "/dev/sda1 /", "a /b c d x", "a /b c d 0 x", "a /b c d # e", "a /b\0 c"]
)
def test_broken_lines_are_refused_with_their_number(line: str) -> None:
    with pytest.raises(ParseError) as caught:
        fstab.parse(f"# comment\n{line}\n")
    assert caught.value.line == 2


def test_replace_specs_keeps_all_else() -> None:
    uuid = "UUID=7e9b1c9e-5d52-4b7c-8d6f-0a5d3c1e2f44"
    new = fstab.replace_specs(EL9, {"/dev/mapper/rhel-root": uuid})
    assert new == EL9.replace("/dev/mapper/rhel-root   /    ", uuid + " /    ")
    assert fstab.replace_specs(DEBIAN, {"/dev/sr0": "/dev/cdrom"}) == DEBIAN.replace(
        "/dev/sr0        ", "/dev/cdrom      "
    )
    assert fstab.replace_specs("/dev/a\\040b /x y\r\n", {"/dev/a b": "LABEL=c d"}) == "LABEL=c\\040d /x y\r\n"
    assert fstab.replace_specs(DEBIAN, {"/dev/vda1": "x"}) == DEBIAN


@pytest.mark.parametrize("text", [DEBIAN, EL9, SUSE])
def test_remove_takes_whole_lines(text: str) -> None:
    new = fstab.remove(text, lambda entry: entry.vfstype == "swap")
    assert new == "".join(
        line for line in text.splitlines(keepends=True) if line[0] == "#" or " swap " not in line
    )
    assert fstab.remove(new, lambda entry: entry.vfstype == "swap") is new


def test_map_options() -> None:
    def add(entry: fstab.Entry) -> tuple[str, ...]:
        wanted = entry.vfstype == "xfs" and "nofail" not in entry.options
        return (*entry.options, "nofail") if wanted else entry.options

    new = fstab.map_options(EL9, add)
    assert new == EL9.replace("xfs     defaults        0", "xfs     defaults,nofail 0")
    assert fstab.map_options(new, add) == new
    assert fstab.map_options("a /b xfs\n", add) == "a /b xfs nofail\n"
    assert fstab.map_options("a /b c d 0 0", lambda _: ()) == "a /b c defaults 0 0"


def findmnt(path: Path) -> list[str]:
    """Return what libmount reads: source, target, type and options of each entry."""
    command = (
        "findmnt",
        "--tab-file",
        str(path),
        "--raw",
        "--noheadings",
        "--output",
        "SOURCE,TARGET,FSTYPE,OPTIONS",
    )
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


FIELD = st.text(st.sampled_from("abc/=\\#,é "), min_size=1, max_size=6).filter(
    lambda s: not s.startswith("#")
)
ROW = st.tuples(
    FIELD.map("x".__add__), FIELD.map("/".__add__), st.sampled_from(("ext4", "swap")), st.just("rw")
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROW, max_size=5), st.sampled_from(("\n", "\r\n")))
def test_libmount_reads_the_same(tmp_path: Path, rows: list[tuple[str, ...]], end: str) -> None:
    text = "".join("\t".join(map(table_fields.encode, row)) + end for row in rows)
    (tmp_path / "fstab").write_bytes(text.encode())
    assert [(one.spec, one.file, one.vfstype, *one.options) for one in entries(text)] == rows
    assert len(findmnt(tmp_path / "fstab")) == len(rows)


@pytest.mark.parametrize(
    "line", ["a /b c", "a /b c rw", "a /b c rw 0", "a /b c rw 0 0 # x", "a /b", "a /b c rw x", "a"]
)
def test_libmount_takes_the_lines_we_take(tmp_path: Path, line: str) -> None:
    (tmp_path / "fstab").write_text(line + "\n")
    assert (or_refused(lambda: fstab.parse(line)) is not None) == (findmnt(tmp_path / "fstab") != [])


@given(texts("/dev/sda1", "UUID=1", " / ", " ext4 ", "\\040", "0", "defaults"))
def test_garbage_is_edited_or_refused(text: str) -> None:
    mapping = {"/dev/sda1": "UUID=1 2", "a": "b"}
    new = or_refused(lambda: fstab.replace_specs(text, mapping))
    if new is not None:
        assert fstab.replace_specs(new, mapping) == new
        assert [one.file for one in entries(new)] == [one.file for one in entries(text)]
        gone = fstab.remove(text, lambda entry: entry.vfstype == "ext4")
        assert [one.spec for one in entries(gone)] == [
            one.spec for one in entries(text) if one.vfstype != "ext4"
        ]
