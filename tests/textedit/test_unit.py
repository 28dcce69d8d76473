from __future__ import annotations

import pytest
from hypothesis import given

from imgfix.errors import ParseError
from imgfix.textedit import unit

from .garbage import or_refused, texts

SSHD = """\
[Unit]
Description=OpenBSD Secure Shell server
After=network.target auditd.service
WantedBy=nothing.target

[Service]
ExecStart=/usr/sbin/sshd -D $SSHD_OPTS

[Install]
WantedBy=multi-user.target
Alias=sshd.service
"""


def test_a_real_unit() -> None:
    assert unit.install_section(SSHD) == unit.Install(
        wanted_by=("multi-user.target",), alias=("sshd.service",)
    )
    assert unit.install_section(SSHD.replace("\n", "\r\n")) == unit.install_section(SSHD)
    assert unit.install_section("") == unit.Install()


@pytest.mark.parametrize(
    ("lines", "wanted_by"),
    [
        ("WantedBy=a b\tc", ("a", "b", "c")),
        ("WantedBy = a", ("a",)),
        ("WantedBy=a\nWantedBy=b", ("a", "b")),
        ("WantedBy=a\nWantedBy=\nWantedBy=b", ("b",)),
        ("WantedBy=a \\\n  b\nAlso=c", ("a", "b")),
        ("WantedBy=a \\\n# comment\n; comment\n  b", ("a", "b")),
        ("WantedBy=a \\", ("a",)),
        ("#WantedBy=a\n;WantedBy=b", ()),
        ("wantedby=a\nWanted By=b\nWantedBy", ()),
        ("WantedBy=\"a\" 'b'", ("a", "b")),
        ("[Service]\nWantedBy=a\n[Install]\nWantedBy=b", ("b",)),
        ("WantedBy=dev-%i.device", ("dev-%i.device",)),
    ],
)
def test_wanted_by(lines: str, wanted_by: tuple[str, ...]) -> None:
    assert unit.install_section(f"[Install]\n{lines}").wanted_by == wanted_by


def test_the_other_keys() -> None:
    found = unit.install_section("[Install]\nRequiredBy=a\nAlso=b.socket c.timer\nAlias=d\n")
    assert found == unit.Install(required_by=("a",), also=("b.socket", "c.timer"), alias=("d",))


def test_a_broken_header_is_refused() -> None:
    with pytest.raises(ParseError) as caught:
        unit.install_section("[Unit]\n\n[Install\nWantedBy=a")
    assert caught.value.line == 3


@given(texts("[Install]\n", "WantedBy=", "\\\n", "[", "]"))
def test_garbage_is_read_or_refused(text: str) -> None:
    found = or_refused(lambda: unit.install_section(text))
    assert found is None or all(found.wanted_by)
