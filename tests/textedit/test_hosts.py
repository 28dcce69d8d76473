from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfix.textedit import hosts

from .garbage import texts

DEBIAN = "127.0.0.1\tlocalhost\n127.0.1.1\tweb01.example.com\tweb01\n\n::1     localhost ip6-localhost\n"


@pytest.mark.parametrize("host", ["web01", "WEB01", "web01.example.com", "web01.other"])
def test_the_installers_line_goes(host: str) -> None:
    assert hosts.without_host(DEBIAN, host) == DEBIAN.replace("127.0.1.1\tweb01.example.com\tweb01\n", "")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("127.0.0.1  localhost web01 web01.lan  other # web01\n", "127.0.0.1  localhost  other # web01\n"),
        ("::1 web01 localhost", "::1 localhost"),
        ("127.0.0.1 localhost web01\r\n", "127.0.0.1 localhost\r\n"),
        (" 127.9.9.9 Web01\n", ""),
        ("127.0.0.1 web01#comment\n", ""),
    ],
)
def test_names_go_one_by_one(text: str, left: str) -> None:
    assert hosts.without_host(text, "web01") == left


@pytest.mark.parametrize(
    "text",
    [
        "",
        "192.168.1.20 web01\n",
        "# 127.0.1.1 web01\n",
        "127.0.0.1 web012 xweb01 db.web01 web01-old\n",
        "::1x web01\n",
        "1270.0.0.1 web01\n",
        "127.0.0.1\n",
        "fe80::1 web01\n",
    ],
)
def test_other_lines_stay(text: str) -> None:
    assert hosts.without_host(text, "web01") == text


@given(texts(), st.sampled_from(["web01", "a.b", "x*", "localhost"]))
def test_twice_is_once(text: str, host: str) -> None:
    once = hosts.without_host(text, host)
    assert hosts.without_host(once, host) == once
