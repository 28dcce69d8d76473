from __future__ import annotations

import pytest
from hypothesis import given

from imgfix.textedit import time_sources

from .garbage import texts

AMAZON = """\
# Use public servers from the pool.ntp.org project.
pool 2.amazon.pool.ntp.org iburst
 Server\t169.254.169.123 prefer iburst minpoll 4 maxpoll 4
!server 169.254.169.123
# server 169.254.169.123
driftfile /var/lib/chrony/drift
"""


def gone(name: str) -> bool:
    return name in ("169.254.169.123", "metadata")


def test_the_servers_go_and_nothing_else() -> None:
    left = AMAZON.replace(" Server\t169.254.169.123 prefer iburst minpoll 4 maxpoll 4\n", "")
    assert time_sources.without_servers(AMAZON, gone) == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("", ""),
        ("server metadata", ""),
        ("peer metadata\r\npool metadata2\r\n", "pool metadata2\r\n"),
        (
            "server\nservers metadata\nlocal server metadata\n",
            "server\nservers metadata\nlocal server metadata\n",
        ),
        ("server 169.254.169.1234\n", "server 169.254.169.1234\n"),
    ],
)
def test_odd_spellings(text: str, left: str) -> None:
    assert time_sources.without_servers(text, gone) == left


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", False),
        ("# server a\n;pool b\ndriftfile x\n", False),
        ("refclock PHC /dev/ptp_hyperv poll 3\n", True),
        (" SourceDir /etc/chrony/sources.d", True),
        ("serverstats\n", False),
    ],
)
def test_has_source(text: str, found: bool) -> None:
    assert time_sources.has_source(text) is found


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("[Time]\nNTP=metadata a b\n", "[Time]\nNTP=a b\n"),
        ("NTP = metadata\r\nFallbackNTP=metadata", "NTP =\r\nFallbackNTP="),
        ("#NTP=metadata\nNTP=a  b\nRootNTP=metadata\n", "#NTP=metadata\nNTP=a  b\nRootNTP=metadata\n"),
    ],
)
def test_names_of_timesyncd(text: str, left: str) -> None:
    assert time_sources.without_names(text, gone) == left


@given(texts("server ", "pool ", "metadata", "NTP=", " iburst"))
def test_twice_is_once_and_only_lines_go(text: str) -> None:
    once = time_sources.without_servers(text, gone)
    assert time_sources.without_servers(once, gone) == once
    left = iter(text.split("\n"))
    assert all(any(line == other for other in left) for line in once.split("\n") if line)
    names = time_sources.without_names(text, gone)
    assert time_sources.without_names(names, gone) == names
    assert len(names.split("\n")) == len(text.split("\n"))
