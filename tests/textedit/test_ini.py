from __future__ import annotations

import configparser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfix.errors import ParseError
from imgfix.textedit import ini
from imgfix.textedit.ini import Grammar

from .garbage import or_refused, texts

# A profile as anaconda writes it.
PROFILE = """\
[connection]
id=ens192
uuid=2c7a1e54-0b9d-4f38-b6a1-7e5d3c9f8042
type=ethernet
interface-name=ens192

# by hand
[ethernet]
mac-address=52:54:00:6B:3C:5A

[ipv4]
address1=10.20.30.40/24,10.20.30.1
dns=10.20.30.2;10.20.30.3;
method=manual
"""

NETWORK = """\
[Match]
Name=ens3 \\
# not this one
  ens4
; nor this
MACAddress=52:54:00:6b:3c:58

[Network]
Address=192.168.1.20/24
Address=192.168.1.21/24

[Address]
Address=192.168.1.22/24
[Address]
Address=192.168.1.23/24
"""


def test_a_profile_of_networkmanager() -> None:
    entries = ini.parse(PROFILE, Grammar.GLIB)
    assert ini.get(entries, "connection", "interface-name") == "ens192"
    assert ini.get(entries, "ipv4", "dns") == "10.20.30.2;10.20.30.3;"
    assert ini.get(entries, "ipv6", "method") is None
    reference = configparser.RawConfigParser(delimiters="=", comment_prefixes="#")
    reference.read_string(PROFILE)
    assert [(e.section, e.key, e.value) for e in entries] == [
        (section, key, value) for section in reference.sections() for key, value in reference.items(section)
    ]


def test_a_file_of_networkd() -> None:
    entries = ini.parse(NETWORK, Grammar.SYSTEMD)
    assert [(e.line, e.last, e.section, e.block, e.key, e.value) for e in entries] == [
        (2, 4, "Match", 1, "Name", "ens3  ens4"),
        (6, 6, "Match", 1, "MACAddress", "52:54:00:6b:3c:58"),
        (9, 9, "Network", 2, "Address", "192.168.1.20/24"),
        (10, 10, "Network", 2, "Address", "192.168.1.21/24"),
        (13, 13, "Address", 3, "Address", "192.168.1.22/24"),
        (15, 15, "Address", 4, "Address", "192.168.1.23/24"),
    ]


@pytest.mark.parametrize(
    ("text", "grammar", "entries"),
    [
        ("[a]\nk = v \n", Grammar.GLIB, [("a", "k", "v")]),
        ("  [a]\n\t# c\n  k=v=w\r\n", Grammar.GLIB, [("a", "k", "v=w")]),
        ("[a]\nk=\n[b]\nk=1\n[a]\nk=2", Grammar.GLIB, [("a", "k", ""), ("b", "k", "1"), ("a", "k", "2")]),
        ("[a]\nk=a\\\nl=b\n", Grammar.GLIB, [("a", "k", "a\\"), ("a", "l", "b")]),
        ("[a]\nk=a\\\nl=b\n", Grammar.SYSTEMD, [("a", "k", "a l=b")]),
        ("x=1\n[a]\nword\n=v\n", Grammar.SYSTEMD, []),
        ("[a]\nk=v\\", Grammar.SYSTEMD, [("a", "k", "v")]),
        ("", Grammar.GLIB, []),
    ],
)
def test_spellings(text: str, grammar: Grammar, entries: list[tuple[str, str, str]]) -> None:
    assert [(e.section, e.key, e.value) for e in ini.parse(text, grammar)] == entries


@pytest.mark.parametrize(
    ("text", "grammar", "line"),
    [
        ("[a]\n\nword\n", Grammar.GLIB, 3),
        ("k=v\n", Grammar.GLIB, 1),
        ("[a]\n;c\n", Grammar.GLIB, 2),
        ("[a]\n=v\n", Grammar.GLIB, 2),
        ("[a\n", Grammar.GLIB, 1),
        ("[]\n", Grammar.GLIB, 1),
        ("[a] b\n", Grammar.GLIB, 1),
        ("[a]\nk=v\n[b\n", Grammar.SYSTEMD, 3),
    ],
)
def test_what_the_reader_would_refuse_is_refused(text: str, grammar: Grammar, line: int) -> None:
    with pytest.raises(ParseError) as caught:
        ini.parse(text, grammar)
    assert caught.value.line == line


def test_lines_go_and_the_rest_stays() -> None:
    new = ini.without(PROFILE, Grammar.GLIB, lambda e: e.key in ("uuid", "mac-address"))
    gone = ("uuid=2c7a1e54-0b9d-4f38-b6a1-7e5d3c9f8042\n", "mac-address=52:54:00:6B:3C:5A\n")
    assert new == PROFILE.replace(gone[0], "").replace(gone[1], "")
    new = ini.without(NETWORK, Grammar.SYSTEMD, lambda e: e.key == "Name")
    assert new == NETWORK.replace("Name=ens3 \\\n# not this one\n  ens4\n", "")


FRAGMENTS = texts("[a]\n", "[b]\n", "k=", "l=v\n", "\\\n", "; c\n")


@given(FRAGMENTS, st.sampled_from(Grammar))
def test_what_goes_is_gone_and_nothing_else(text: str, grammar: Grammar) -> None:
    entries = or_refused(lambda: ini.parse(text, grammar))
    if entries is None:
        return
    new = ini.without(text, grammar, lambda e: e.key == "k")
    left = [(e.section, e.key, e.value) for e in entries if e.key != "k"]
    assert [(e.section, e.key, e.value) for e in ini.parse(new, grammar)] == left
    assert ini.without(new, grammar, lambda e: e.key == "k") == new
    assert ini.without(text, grammar, lambda _: False) == text
