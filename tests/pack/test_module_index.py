"""modules.dep and its index: modprobe finds by them what it finds by depmod's own."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfix.errors import GuestError
from imgfix.pack import module_index
from imgfix.pack.module_index import Line

RELEASE = "6.1.0-test"
_NAMES = st.sets(st.from_regex(r"[a-z][a-z0-9_]{0,11}", fullmatch=True), min_size=1, max_size=25).map(sorted)


def _lines(names: Sequence[str]) -> list[Line]:
    """Each module needs the one before it, in a folder of its own."""
    paths = [f"kernel/{name[0]}/{name}.ko" for name in names]
    return [Line(path, tuple(paths[max(0, i - 1) : i])) for i, path in enumerate(paths)]


def _modprobe(base: Path, name: str) -> list[str]:
    argv = ("modprobe", "-C", "/dev/null", "-d", str(base), "-S", RELEASE, "--show-depends", name)
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    prefix = f"insmod {base}/lib/modules/{RELEASE}/"
    return [line.removeprefix(prefix).strip() for line in done.stdout.splitlines()]


def _install(base: Path, lines: Sequence[Line], names: Sequence[str]) -> None:
    folder = base / "lib/modules" / RELEASE
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "modules.dep.bin").write_bytes(module_index.binary(lines, names))
    for line in lines:  # modprobe names no need that is not there
        path = folder / line.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@settings(max_examples=5, deadline=None)
@given(_NAMES)
def test_modprobe_finds_every_module_and_its_needs(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    base = tmp_path_factory.mktemp("kernel")
    lines = _lines(names)
    _install(base, lines, names)
    for name, line in zip(names, lines, strict=True):
        assert _modprobe(base, name) == [*line.needs, line.path]


def test_names_that_begin_with_each_other(tmp_path: Path) -> None:
    names = ["hv", "hv_netvsc", "hv_net", "h", "hv_storvsc", "xfs"]
    lines = [Line(f"kernel/{name}.ko.xz", ()) for name in names]
    _install(tmp_path, lines, names)
    for name, line in zip(names, lines, strict=True):
        assert _modprobe(tmp_path, name) == [line.path]


def test_the_needs_of_needs_are_loaded_last_first(tmp_path: Path) -> None:
    """modules.dep names them in the order in which they are to be taken away."""
    line = Line("kernel/scsi/hv_storvsc.ko", ("kernel/scsi/fc.ko", "kernel/hv/hv_vmbus.ko"))
    others = [Line(path, ()) for path in line.needs]
    _install(tmp_path, [line, *others], ["hv_storvsc", "fc", "hv_vmbus"])
    assert _modprobe(tmp_path, "hv_storvsc") == ["kernel/hv/hv_vmbus.ko", "kernel/scsi/fc.ko", line.path]


def test_no_module_at_all(tmp_path: Path) -> None:
    _install(tmp_path, [], [])
    argv = ("modprobe", "-C", "/dev/null", "-d", str(tmp_path), "-S", RELEASE, "--show-depends", "xfs")
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "not found in directory" in done.stderr


def test_what_depmod_wrote_is_read_and_written_again() -> None:
    text = "kernel/a.ko:\nkernel/b.ko.xz: kernel/a.ko kernel/c.ko\nkernel/c.ko:\n"
    lines = list(module_index.parse(text))
    assert lines[1] == Line("kernel/b.ko.xz", ("kernel/a.ko", "kernel/c.ko"))
    assert module_index.text(lines).decode() == text


@pytest.mark.parametrize("text", ["a.ko", ": b.ko", "/lib/modules/x/a.ko:", "a b.ko: c.ko"])
def test_other_text_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(ValueError, match="line 2"):
        list(module_index.parse(f"kernel/x.ko:\n{text}\n"))


def test_other_characters_than_ascii_are_refused() -> None:
    with pytest.raises(GuestError, match="ASCII"):
        module_index.binary([Line("kernel/größe.ko", ())], ["größe"])
