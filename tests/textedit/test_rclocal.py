from __future__ import annotations

import subprocess

import pytest
from hypothesis import given

from imgfix.textedit import rclocal

from .garbage import texts

EL6 = "#!/bin/sh\n#\n# This script will be executed *after* the others.\n\ntouch /var/lock/subsys/local\n"
DEBIAN = "#!/bin/sh -e\n#\n# By default this script does nothing.\n\nexit 0\n"
LINE = "echo mine"


@pytest.mark.parametrize(
    ("text", "result"),
    [
        (EL6, EL6 + "echo mine\n"),
        (DEBIAN, DEBIAN.replace("exit 0", "echo mine\nexit 0")),
        ("a\nexit", "a\necho mine\nexit"),
        ("a\n exit 3 # done\n\n# end\n", "a\necho mine\n exit 3 # done\n\n# end\n"),
        ("a", "a\necho mine\n"),
        ("a\r\n", "a\r\necho mine\r\n"),
        ("if a; then\n  exit 1\nfi\n", "if a; then\n  exit 1\nfi\necho mine\n"),
        ("exitcode=0\n", "exitcode=0\necho mine\n"),
        ("", "#!/bin/sh\necho mine\n"),
        ("echo mine\nb\n", "echo mine\nb\n"),
        ("  echo mine\n", "  echo mine\necho mine\n"),
    ],
)
def test_with_line(text: str, result: str) -> None:
    assert rclocal.with_line(text, LINE) == result


@pytest.mark.parametrize("text", ["#!/bin/sh\n:\n", DEBIAN, "#!/bin/sh\n:\nexit # why\n# more\n", ""])
def test_a_shell_reaches_the_line(text: str) -> None:
    done = subprocess.run(
        ("sh", "-c", rclocal.with_line(text, LINE)), capture_output=True, text=True, check=True
    )
    assert done.stdout == "mine\n"


@given(texts("exit 0", "exit", "echo mine", "#!/bin/sh"))
def test_twice_is_once_and_nothing_else_changes(text: str) -> None:
    once = rclocal.with_line(text, LINE)
    assert rclocal.with_line(once, LINE) == once
    before, after = ([line.removesuffix("\r") for line in one.split("\n")] for one in (text, once))
    # A carriage return without a newline behind it ends no line.
    if LINE not in text.replace("\r\n", "\n").split("\n"):
        after.remove(LINE)
    assert [line for line in before if line] == [
        line for line in after if line and (text or line != "#!/bin/sh")
    ]
