from __future__ import annotations

import pytest
from hypothesis import given

from imgfix.errors import ParseError
from imgfix.textedit import interfaces

from .garbage import or_refused, texts

# As Debian's installer leaves it, with what administrators add.
TEXT = """\
source /etc/network/interfaces.d/*

auto lo
iface lo inet loopback

# The primary network interface
allow-hotplug ens3 ens4
iface ens3 inet static
\taddress 192.168.1.20/24
\t# the router
\tgateway 192.168.1.1
\tup ip route add 10.0.0.0/8 \\
\t\tvia 192.168.1.254

iface ens4 inet dhcp
"""


def test_a_real_file() -> None:
    stanzas = interfaces.parse(TEXT)
    assert [(s.line, s.last, s.kind, s.words) for s in stanzas] == [
        (1, 1, "source", ("/etc/network/interfaces.d/*",)),
        (3, 3, "auto", ("lo",)),
        (4, 4, "iface", ("lo", "inet", "loopback")),
        (7, 7, "allow-hotplug", ("ens3", "ens4")),
        (8, 13, "iface", ("ens3", "inet", "static")),
        (15, 15, "iface", ("ens4", "inet", "dhcp")),
    ]
    assert [(o.line, o.last, o.key, o.value) for o in stanzas[4].options] == [
        (9, 9, "address", "192.168.1.20/24"),
        (11, 11, "gateway", "192.168.1.1"),
        (12, 13, "up", "ip route add 10.0.0.0/8 via 192.168.1.254"),
    ]


def test_a_stanza_goes_with_its_options() -> None:
    new = interfaces.without(TEXT, lambda s: s.kind == "iface" and s.name == "ens3")
    assert new == TEXT[: TEXT.index("iface ens3")] + TEXT[TEXT.index("\niface ens4") :]
    new = interfaces.without_options(TEXT, lambda s, o: o.key in ("gateway", "up"))
    assert new == TEXT.replace("\tgateway 192.168.1.1\n", "").replace(
        "\tup ip route add 10.0.0.0/8 \\\n\t\tvia 192.168.1.254\n", ""
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("auto lo eth0\n", "auto lo\n"),
        ("auto eth0\nauto lo", "auto lo"),
        ("  allow-hotplug eth0 eth1\r\n", "  allow-hotplug eth1\r\n"),
        ("auto eth0 \\\n lo\n#c\n", "auto lo\n#c\n"),
        ("auto\n", "auto\n"),
        ("no-auto-down eth0\niface eth0 inet dhcp\n", "no-auto-down eth0\niface eth0 inet dhcp\n"),
    ],
)
def test_names_go_from_the_lines_that_start_them(before: str, after: str) -> None:
    assert interfaces.without_starts(before, "eth0".__eq__) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "auto eth0\niface eth0 inet dhcp\n"),
        ("auto lo", "auto lo\n\nauto eth0\niface eth0 inet dhcp\n"),
        ("auto lo\r\n", "auto lo\r\n\r\nauto eth0\r\niface eth0 inet dhcp\r\n"),
        ("auto lo\n\n", "auto lo\n\nauto eth0\niface eth0 inet dhcp\n"),
    ],
)
def test_appended(before: str, after: str) -> None:
    assert interfaces.appended(before, ("auto eth0", "iface eth0 inet dhcp")) == after


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("iface\n", 1),
        ("\n  address 1\n", 2),
        ("auto eth0\naddress 1\n", 2),
        ("source x\n\nup y\n", 3),
        ("auto eth0\0\n", 1),
    ],
)
def test_what_ifup_refuses_is_refused(text: str, line: int) -> None:
    with pytest.raises(ParseError) as caught:
        interfaces.parse(text)
    assert caught.value.line == line


FRAGMENTS = texts(
    "auto eth0 lo\n",
    "iface eth0 inet dhcp\n",
    "iface lo inet loopback\n",
    " up x\n",
    "\\\n",
    "allow-hotplug ",
)


@given(FRAGMENTS)
def test_what_goes_is_gone_and_nothing_else(text: str) -> None:
    stanzas = or_refused(lambda: interfaces.parse(text))
    if stanzas is None:
        return
    new = interfaces.without(text, lambda s: s.name == "eth0" and s.kind == "iface")
    left = or_refused(lambda: interfaces.parse(new))
    wanted = [(s.kind, s.words) for s in stanzas if not (s.name == "eth0" and s.kind == "iface")]
    assert left is not None
    assert [(s.kind, s.words) for s in left] == wanted
    assert interfaces.without(new, lambda s: s.name == "eth0" and s.kind == "iface") == new
    assert interfaces.without(text, lambda _: False) == text


@given(FRAGMENTS)
def test_names_that_stay_keep_their_order(text: str) -> None:
    stanzas = or_refused(lambda: interfaces.parse(text))
    if stanzas is None:
        return
    new = interfaces.without_starts(text, "eth0".__eq__)
    names = [word for s in stanzas if s.starts for word in s.words if word != "eth0"]
    assert [word for s in interfaces.parse(new) if s.starts for word in s.words] == names
    assert interfaces.without_starts(new, "eth0".__eq__) == new
