"""A plan as a patch: GNU patch and git make of it what apply makes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfix import gitdiff
from imgfix.difference import Difference, Reason
from imgfix.tree import Entry, Kind

_WHY = (Reason("test", "because"),)


def _difference(path: str, old: bytes | None, new: bytes, mode: int = 0o644) -> Difference:
    before = None if old is None else Entry(Kind.FILE, size=len(old))
    return Difference(path, before, Entry(Kind.FILE, mode=mode, size=len(new)), old, new, _WHY)


def _patched(difference: Difference, folder: Path) -> Path:
    """Write the old side below `folder`, let GNU patch have the diff, and return the path of the new side."""
    path = Path(f"{folder}{difference.path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if difference.old is not None:
        path.write_bytes(difference.old)
        path.chmod(0o644)
    assert gitdiff.can_hold(difference)
    text = b"# a comment: /etc/x\n" + gitdiff.patch(difference)
    argv = ("patch", "--strip=1", f"--directory={folder}", "--batch", "--fuzz=0")
    done = subprocess.run(argv, input=text, capture_output=True, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr, text)
    assert b"fuzz" not in done.stdout
    assert b"offset" not in done.stdout
    return path


_LINE = st.sampled_from([b"a", b"b", b"--- c", b"+++ d", b"", b"\xff\xfe", b"e\r", b"# f", b"\x1b[31m"])
_TEXT = st.builds(
    lambda lines, ends: b"\n".join(lines) + (b"\n" if ends and lines else b""),
    st.lists(_LINE, max_size=24),
    st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(_TEXT, _TEXT.filter(bool))
def test_patch_makes_the_new_text_of_the_old_one(
    tmp_path_factory: pytest.TempPathFactory, old: bytes, new: bytes
) -> None:
    if old == new:
        return
    path = _patched(_difference("/etc/some file", old, new), tmp_path_factory.mktemp("t"))
    assert path.read_bytes() == new


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o755, 0o440])
@pytest.mark.parametrize("content", [b"", b"text\n", b"no end"])
def test_a_new_file_has_its_mode(tmp_path: Path, mode: int, content: bytes) -> None:
    path = _patched(_difference("/etc/d/new", None, content, mode), tmp_path)
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("name", ["a b", "ä", 'quo"te', "back\\slash", "esc\x1b[31m", "new\nline", "\udcff"])
def test_odd_names(tmp_path: Path, name: str) -> None:
    difference = _difference(f"/etc/{name}", b"old\n", b"new\n")
    assert _patched(difference, tmp_path).read_bytes() == b"new\n"
    head = gitdiff.patch(difference).split(b"@@", maxsplit=1)[0]
    assert b"\x1b" not in head


def test_a_new_link(tmp_path: Path) -> None:
    after = Entry(Kind.LINK, target="/usr/lib/systemd/system/x.service")
    path = _patched(Difference("/etc/systemd/x", None, after, None, None, _WHY), tmp_path)
    assert str(path.readlink()) == after.target


def test_other_permission_bits(tmp_path: Path) -> None:
    old = Entry(Kind.FILE, mode=0o644, size=2)
    difference = Difference("/etc/x", old, Entry(Kind.FILE, mode=0o600, size=2), b"a\n", b"a\n", _WHY)
    assert _patched(difference, tmp_path).stat().st_mode & 0o777 == 0o600


def test_many_lines_take_no_time(tmp_path: Path) -> None:
    """Half a megabyte in which every line differs: one block."""
    old = b"".join(b"%d\n" % number for number in range(40_000))
    new = b"".join(b"%d\n" % number for number in range(40_000, 0, -1))
    assert _patched(_difference("/etc/x", old, new), tmp_path).read_bytes() == new


def test_git_takes_it_too(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/x").write_bytes(b"a\nb\n")
    text = gitdiff.patch(_difference("/etc/x", b"a\nb\n", b"a\nc"))
    text += gitdiff.patch(_difference("/etc/new", None, b""))
    done = subprocess.run(("git", "apply", "-"), input=text, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "etc/x").read_bytes() == b"a\nc"
    assert (tmp_path / "etc/new").read_bytes() == b""
