"""Keys: where they come from, what they may mean, and that they are not shown."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imgfix.errors import UsageError
from imgfix.keys import MAX_KEY, Key, read_keys


def test_files_come_first_in_their_order_then_the_environment(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    files = [str(tmp_path / "b"), str(tmp_path / "a")]
    assert [k.content for k in read_keys(files, {"IMGFIX_KEY": "env"})] == [b"b", b"a", b"env"]
    assert read_keys([], {}) == ()
    assert read_keys([], {"IMGFIX_KEY": ""}) == ()


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"piped\n")))
    (key,) = read_keys(["-"], {})
    assert (key.origin, key.content) == ("--key -", b"piped\n")


def test_a_person_at_a_terminal_is_asked(tmp_path: Path) -> None:
    """A real terminal: what is typed is taken and not shown."""
    primary, secondary = os.openpty()
    code = "from imgfix.keys import read_keys; print(len(read_keys(['-'], {})[0].content))"
    argv = (sys.executable, "-c", code)
    with subprocess.Popen(
        argv, stdin=secondary, stdout=secondary, stderr=secondary, start_new_session=True
    ) as process:
        os.close(secondary)
        shown = os.read(primary, 1000)
        os.write(primary, b"secret\n")
        while b"6" not in shown:
            shown += os.read(primary, 1000)
        assert process.wait(30) == 0
    os.close(primary)
    assert b"passphrase of the encrypted disk" in shown
    assert b"secret" not in shown


@pytest.mark.parametrize(
    ("content", "readings"),
    [
        (b"secret", [b"secret"]),
        (b"secret\n", [b"secret", b"secret\n"]),
        (b"secret\r\n", [b"secret", b"secret\r\n"]),
        (b"\n", [b"", b"\n"]),
        (b"\x00\xff\n\n", [b"\x00\xff\n", b"\x00\xff\n\n"]),
    ],
)
def test_a_line_end_may_belong_to_the_key_or_to_the_editor(content: bytes, readings: list[bytes]) -> None:
    assert list(Key("", content).readings) == readings


def test_a_key_is_not_shown() -> None:
    assert "secret" not in repr(Key("--key f", b"secret"))


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(MAX_KEY + 1)
    for name, words in (
        ("empty", "is empty"),
        ("large", "no larger key"),
        ("no", "no such file"),
        (".", "no such"),
    ):
        with pytest.raises(UsageError, match=words):
            read_keys([str(tmp_path / name)], {})
