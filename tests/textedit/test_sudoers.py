from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfix.textedit import sudoers

from .garbage import texts

CLOUD_INIT = "# Created by cloud-init v. 22.4.2\n\n# User rules for alice\nalice ALL=(ALL) NOPASSWD:ALL\n"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (CLOUD_INIT, CLOUD_INIT.replace("alice ALL=(ALL) NOPASSWD:ALL\n", "")),
        ("alice ALL=(ALL) ALL", ""),
        ("\talice\tALL = \\\n  /bin/a, \\\n  /bin/b\nbob ALL=ALL\r\n", "bob ALL=ALL\r\n"),
        ("Defaults:alice !requiretty\nDefaults !visiblepw\n", "Defaults !visiblepw\n"),
        ('"alice" ALL=ALL\n', ""),
        ("alice ALL=ALL # comment\n", ""),
    ],
)
def test_rules_for_the_user_alone_go(text: str, left: str) -> None:
    assert sudoers.without_user(text, "alice") == left


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice2 ALL=ALL\n",
        "%alice ALL=ALL\n",
        "# alice ALL=ALL\n",
        "alice, bob ALL=ALL\n",
        "alice ,\\\n bob ALL=ALL\n",
        "Defaults:alice,bob !requiretty\n",
        "User_Alias ADMINS = alice\n",
        "#include /etc/sudoers.local\n@includedir /etc/sudoers.d\n#includedir alice\n",
        "bob ALL=(alice) ALL\n",
        "#1000 ALL=ALL\n",
    ],
)
def test_everything_else_stays(text: str) -> None:
    assert sudoers.without_user(text, "alice") == text


def test_a_user_by_number() -> None:
    assert sudoers.without_user("#1000 ALL=ALL\n#1001 ALL=ALL\n", "#1000") == "#1001 ALL=ALL\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("alice, bob ALL=ALL\n", True),
        ("User_Alias A = bob, \\\n alice\n", True),
        ("bob ALL=(alice) ALL\n", True),
        ("# alice\n", False),
        ("alice2 ALL=ALL\nmalice ALL=ALL\n%alice ALL=ALL\nbob ALL=/home/alice/x, /alice.sh\n", False),
        ("bob ALL=/bin/x-alice\n", False),
    ],
)
def test_names(text: str, found: bool) -> None:
    assert sudoers.names(text, "alice") is found


@pytest.mark.parametrize(
    ("text", "empty"),
    [("", True), ("# a\n\n", True), ("#include x\n", False), ("#5 ALL=ALL", False), (CLOUD_INIT, False)],
)
def test_is_empty(text: str, empty: bool) -> None:
    assert sudoers.is_empty(text) is empty


@given(texts("alice", "ALL=ALL", "Defaults:", "\\\n", ", ", "bob"), st.sampled_from(["alice", "bob", "a"]))
def test_twice_is_once_and_only_lines_go(text: str, user: str) -> None:
    once = sudoers.without_user(text, user)
    assert sudoers.without_user(once, user) == once
    left = iter(text.split("\n"))
    assert all(any(line == other for other in left) for line in once.split("\n") if line)
