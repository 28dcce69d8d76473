from __future__ import annotations

import pytest
from hypothesis import given

from imgfix.errors import ParseError
from imgfix.textedit import ifcfg

from .garbage import or_refused, texts

# As anaconda of EL 7 writes it.
TEXT = """\
TYPE="Ethernet"
BOOTPROTO="none"
NAME="ens192"
UUID="6f0d6b42-9a17-4c3e-8a52-3d9b1f7c5e10"
DEVICE=ens192
HWADDR=00:0C:29:21:F1:61 # vmxnet3
ONBOOT=yes
IPADDR="192.168.1.20"
IPADDR='192.168.1.30'
"""


def test_the_last_value_counts() -> None:
    values = ifcfg.values(TEXT)
    assert (values["IPADDR"], values["DEVICE"], values["UUID"][:8]) == ("192.168.1.30", "ens192", "6f0d6b42")


def test_lines_go_and_the_rest_stays() -> None:
    lines = [
        line for line in TEXT.splitlines(keepends=True) if not line.startswith(("UUID", "HWADDR", "IPADDR"))
    ]
    assert ifcfg.without(TEXT, ("UUID", "HWADDR", "IPADDR", "MACADDR")) == "".join(lines)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("A=1\n  B=2\n", "A=1\n"),
        ("export B=2\nA=1\n", "A=1\n"),
        ("B='1\n2'\nA=1\n", "A=1\n"),
        ("A=1\nB=", "A=1\n"),
        ("A=1\r\nB=2\r\n", "A=1\r\n"),
        ("B=2;\nA=1\n", "A=1\n"),
        ("#B=2\n", "#B=2\n"),
    ],
)
def test_without(before: str, after: str) -> None:
    assert ifcfg.without(before, ("B",)) == after


@pytest.mark.parametrize("text", ["A=1 B=2\n", "A=1; B=2\n", "\nB=2 A=1\n", "if true; then B=2; fi\n"])
def test_a_shared_line_is_refused(text: str) -> None:
    with pytest.raises(ParseError) as caught:
        ifcfg.without(text, ("B",))
    assert caught.value.line == text.count("\n", 0, text.index("B")) + 1


@given(texts("A=", "B=", "A=1\n", "B='x'\n", "export "))
def test_what_goes_is_gone_and_nothing_else(text: str) -> None:
    new = or_refused(lambda: ifcfg.without(text, ("B",)))
    if new is None:
        return
    values = ifcfg.values(text)
    assert ifcfg.values(new) == {name: value for name, value in values.items() if name != "B"}
    assert ifcfg.without(new, ("B",)) == new
    assert ifcfg.without(text, ()) == text
