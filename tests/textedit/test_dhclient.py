from __future__ import annotations

import pytest
from hypothesis import given

from imgfix.textedit import dhclient

from .garbage import texts


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ('send host-name "web01";\n', "send host-name = gethostname();\n"),
        ('a;\n\tsend  host-name="web01" ; # x\r\n', "a;\n\tsend  host-name = gethostname(); # x\r\n"),
        (
            'interface "eth0" {\n  send host-name "x";\n}\n',
            'interface "eth0" {\n  send host-name = gethostname();\n}\n',
        ),
    ],
)
def test_a_fixed_name_becomes_the_own(text: str, result: str) -> None:
    assert dhclient.with_own_host_name(text) == result


@pytest.mark.parametrize(
    "text",
    [
        "",
        "send host-name = gethostname();\n",
        '#send host-name "andare.fugue.com";\n',
        'send dhcp-client-identifier "web01";\nsend host-names "x";\n',
        'send host-name "not closed;\n',
    ],
)
def test_everything_else_stays(text: str) -> None:
    assert dhclient.with_own_host_name(text) == text


@given(texts("send ", "host-name", '"web"', ";"))
def test_twice_is_once(text: str) -> None:
    once = dhclient.with_own_host_name(text)
    assert dhclient.with_own_host_name(once) == once
    assert once.count("\n") == text.count("\n")
