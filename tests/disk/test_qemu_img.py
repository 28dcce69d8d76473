from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from imgfix.disk.qemu_img import Version, installed_version, parse_version, refuse_known_bad
from imgfix.errors import HostError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("qemu-img version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright (c) 2003-2022", (7, 2, 22)),
        ("qemu-img version 2.5.0, Copyright (c) 2004-2008 Fabrice Bellard", (2, 5, 0)),
        ("qemu-img version 1.5.3, Copyright (c) 2004-2008 Fabrice Bellard", (1, 5, 3)),
        ("qemu-img version 9.0 (qemu-9.0-1.fc40)", (9, 0, 0)),
        ("warning: something\nqemu-img version 10.0.2", (10, 0, 2)),
    ],
)
def test_versions_as_distributions_print_them(text: str, expected: Version) -> None:
    assert parse_version(text) == expected


@pytest.mark.parametrize("text", ["", "qemu-img", "version 7.2"])
def test_no_version(text: str) -> None:
    with pytest.raises(HostError, match="no version"):
        parse_version(text)


@pytest.mark.parametrize("version", [(2, 2, 1), (2, 3, 0), (2, 4, 1), (2, 5, 0), (2, 5, 99)])
def test_known_bad(version: Version) -> None:
    with pytest.raises(HostError) as caught:
        refuse_known_bad(version)
    assert "2.6" in (caught.value.hint or "")


@pytest.mark.parametrize("version", [(1, 5, 3), (2, 2, 0), (2, 6, 0), (7, 2, 22), (10, 0, 0)])
def test_good(version: Version) -> None:
    refuse_known_bad(version)


def test_this_host() -> None:
    refuse_known_bad(installed_version())


def test_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match="not installed"):
        installed_version()


def test_hanging(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("qemu-img", 30)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(HostError, match="does not run"):
        installed_version()
