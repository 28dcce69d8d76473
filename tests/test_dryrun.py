"""apply --dry-run: the lists, the patch in a pipe, and nothing of the guest's raw on a terminal."""

from __future__ import annotations

import io
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from imgfix import dryrun
from imgfix.change import InstallPackages
from imgfix.errors import ApplyError
from imgfix.installer import refuse_offline
from imgfix.plan import Item
from imgfix.readiness.judge import judge, unforeseen
from tests.fake_tree import FakeEntry, FakeTree
from tests.readiness.test_judge import EVIL, preview

HASH = "root:$6$secret$hash:1:0:99999:7:::\n"


def _extracted(tree: FakeTree, folder: Path) -> None:
    """Write a guest's files and folders below `folder`."""
    for path, entry in tree._entries.items():
        real = Path(f"{folder}{path}")
        if entry.entry().kind.value == "directory":
            real.mkdir(parents=True, exist_ok=True)
        elif entry.entry().kind.value == "file":
            real.parent.mkdir(parents=True, exist_ok=True)
            real.write_bytes(entry.data())


def test_the_patch_and_the_lists_make_what_apply_makes(tmp_path: Path) -> None:
    """A whole guest: patch, and the removals that stand before it, against the plan carried out."""
    found, tree = preview(tmp_path, {"/etc/shadow": FakeEntry(HASH, mode=0o640)})
    stream = io.BytesIO()
    dryrun.write_patch(stream, found)
    folder = tmp_path / "tree"
    folder.mkdir()
    _extracted(tree, folder)
    lines = stream.getvalue().decode().splitlines()
    for line in lines:
        words = line.removeprefix("# ").partition(": ")[0].split(" ", 1)
        if line.startswith("# remove "):
            subprocess.run(("rm", "-r", f"{folder}{words[1]}"), check=True)
        elif line.startswith("# empty "):
            Path(f"{folder}{words[1]}").write_bytes(b"")
    argv = ("patch", "-p1", "--batch", "--fuzz=0", f"--directory={folder}")
    done = subprocess.run(argv, input=stream.getvalue(), capture_output=True, check=False)
    assert done.returncode == 0, done.stdout
    after = tree.edited(found.plan.edits)
    compared = 0
    for difference in found.differences:
        real, entry = Path(f"{folder}{difference.path}"), after.lstat(difference.path)
        if entry is None:
            assert not real.exists(), difference.path
        elif difference.source is None and entry.kind.value == "file" and "/boot/" not in difference.path:
            assert real.read_bytes() == after.read_file(difference.path), difference.path
            compared += 1
    assert compared > 10


def test_a_terminal_gets_no_control_character_and_no_secret(tmp_path: Path) -> None:
    found, _ = preview(
        tmp_path,
        {"/etc/shadow": FakeEntry(HASH, mode=0o640), "/etc/hostname": EVIL, f"/var/log/{EVIL}.log": "x"},
    )
    plain, coloured = io.StringIO(), io.StringIO()
    dryrun.show_patch(Console(file=plain, width=200), found)
    dryrun.show_patch(Console(file=coloured, width=200, force_terminal=True, color_system="standard"), found)
    assert "\x1b" not in plain.getvalue()
    assert "\x07" not in coloured.getvalue()
    assert "]0;owned" in coloured.getvalue()
    assert "\x1b]" not in coloured.getvalue()
    assert "$6$secret" not in plain.getvalue()
    assert "others may not read it" in plain.getvalue()


def test_the_lists(tmp_path: Path) -> None:
    found, _ = preview(tmp_path, {f"/var/log/{EVIL}.log": "x"})
    stream = io.StringIO()
    dryrun.show(Console(file=stream, width=200), found)
    text = stream.getvalue()
    for title in ("written", "removed", "rebuilt by the guest's own tools"):
        assert f"\n{title}\n" in f"\n{text}"
    assert "write      /etc/default/grub - the kernel command line that Azure needs (kernel_args)" in text
    assert "\x1b" not in text
    assert text.endswith("this was a dry run\n")


def test_an_empty_plan_is_told(tmp_path: Path) -> None:
    found, _ = preview(tmp_path)
    empty = replace(found, plan=replace(found.plan, items=()), differences=(), faults=())
    stream = io.StringIO()
    dryrun.show(Console(file=stream), empty)
    assert "nothing is to be changed in the guest" in stream.getvalue()


@pytest.mark.parametrize(
    ("install", "told"),
    [
        (InstallPackages("apt", ("waagent",), "Azure needs them"), "come from the guest's own repositories"),
        (
            InstallPackages("apt", ("waagent",), "Azure needs them", ("a.deb",)),
            "when the packages are installed",
        ),
    ],
    ids=["repositories", "folder"],
)
def test_what_packages_bring_is_said_to_be_unknown(
    tmp_path: Path, install: InstallPackages, told: str
) -> None:
    found, _ = preview(tmp_path)
    assert list(unforeseen(found.plan)) == []
    waits = replace(found, plan=replace(found.plan, items=(Item("packages", install), *found.plan.items)))
    stream = io.StringIO()
    dryrun.show(Console(file=stream, width=400), waits)
    (note,) = (line for line in stream.getvalue().splitlines() if told in line)
    assert note.lstrip().startswith("note")
    assert note.endswith(": agent, cloud_init, generalize, network, selinux, services, ssh, waagent")
    (row,) = (r for r in judge(waits).requirements if r.id == "R17")
    assert told in "".join(finding.text for finding in row.findings)


def test_no_network_refuses_as_apply_does() -> None:
    refuse_offline(())
    with pytest.raises(ApplyError, match="--no-network forbids fetching them: waagent"):
        refuse_offline((InstallPackages("apt", ("waagent",), "Azure needs them"),))
