from __future__ import annotations

import pytest
from hypothesis import given

from imgfix.errors import ParseError
from imgfix.textedit import inittab
from imgfix.textedit.inittab import Entry

from .garbage import or_refused, texts

SLES11 = """\
# The default runlevel is defined here
id:3:initdefault:

# First script to be executed, if not booting in emergency (-b) mode
si::bootwait:/etc/init.d/boot
ca::ctrlaltdel:/sbin/shutdown -r -t 4 now
1:2345:respawn:/sbin/mingetty --noclear tty1
#S0:12345:respawn:/sbin/agetty -L 9600 ttyS0 vt102
"""
EL6 = "# Only the default runlevel counts\nid:3:initdefault:\n"
OURS = "S0:2345:respawn:/sbin/agetty -L 115200 ttyS0 vt102\n"


def test_entries_of_a_real_file() -> None:
    found = inittab.entries(SLES11)
    assert [entry.id for entry in found] == ["id", "si", "ca", "1"]
    assert found[3] == Entry(7, "1", "2345", "respawn", "/sbin/mingetty --noclear tty1")
    assert inittab.is_sysv(SLES11)
    assert not inittab.is_sysv(EL6)


@pytest.mark.parametrize(
    ("before", "added"),
    [
        (SLES11, OURS),
        ("", OURS),
        ("si::sysinit:/x", "\n" + OURS),
        ("S0:2:off:/sbin/agetty ttyS0\n", OURS.replace("S0:", "T0:", 1)),
        ("co:2345:respawn:/sbin/agetty 9600 ttyS01 vt100\n", OURS),
        ("co:2345:respawn:/bin/sh ttyS0\n", OURS),
        ("co:2345:respawn:/sbin/agetty -h -t 60 ttyS0 9600\n", ""),
        ("co:2345:respawn:/sbin/agetty 9600 /dev/ttyS0\n", ""),
        ("x:2:wait:a\r\n", OURS.replace("\n", "\r\n")),
    ],
)
def test_a_login_on_the_port(before: str, added: str) -> None:
    new = inittab.with_login(before, "ttyS0")
    assert new == before + added
    assert inittab.with_login(new, "ttyS0") == new


def test_refused() -> None:
    with pytest.raises(ParseError) as caught:
        inittab.entries("a:b:c:d\n# x\n a:b\n")
    assert caught.value.line == 3
    taken = "".join(f"{name}:2:off:x\n" for name in ("S0", "T0", "ser0"))
    with pytest.raises(ParseError, match="no id left"):
        inittab.with_login(taken, "ttyS0")
    with pytest.raises(ParseError, match="no id left"):
        inittab.with_login("", "ttyS1234")


@given(texts("S0:", "2345:", "respawn:", "/sbin/agetty ttyS0", "a:b:c:d\n", "#"))
def test_any_text(text: str) -> None:
    new = or_refused(lambda: inittab.with_login(text, "ttyS0"))
    if new is None:
        return
    assert inittab.with_login(new, "ttyS0") == new
    assert new.startswith(text)
    # A carriage return at the very end becomes part of the line ending that is put behind it.
    before, after = inittab.entries(text.removesuffix("\r")), inittab.entries(new)
    assert after[: len(before)] == before
