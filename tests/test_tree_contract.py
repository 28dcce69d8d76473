"""The contract of Tree on the trees without a guest, and its installer against this host's own file system."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from imgfix.change import WriteFile
from imgfix.draft import Draft
from imgfix.tree import Kind, Tree
from tests import contract
from tests.fake_tree import FakeTree


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_tree_in_memory(check: Callable[[Tree], None]) -> None:
    check(FakeTree(contract.FILES))


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_draft(check: Callable[[Tree], None]) -> None:
    draft = Draft(FakeTree(contract.FILES))
    draft.stage(WriteFile("/etc/elsewhere", b"x", ""))
    check(draft)


def test_the_installer_makes_the_files(tmp_path: Path) -> None:
    """All but owners, which take root."""
    lines = [line for line in contract.install().splitlines() if not line.startswith("chown ")]
    script = "\n".join(lines).replace(contract.ROOT, str(tmp_path))
    shell = shutil.which("sh")
    assert shell
    subprocess.run([shell, "-c", script], check=True)
    for path, fake in contract.FILES.items():
        made = Path(path.replace(contract.ROOT, str(tmp_path)))
        if fake.kind is Kind.LINK:
            assert str(made.readlink()) == fake.target.replace(contract.ROOT, str(tmp_path))
        else:
            assert made.lstat().st_mode & 0o7777 == fake.entry().mode
        if fake.kind is Kind.FILE:
            assert made.read_bytes() == fake.data()
