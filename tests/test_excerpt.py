"""The line that a message points at, with carets under the place."""

from __future__ import annotations

import pytest

from imgfix.excerpt import with_excerpts

TEXT = "one: 1\n\ttwo: 'a b' # c\n" + "x" * 300 + ": y\n"


def read(name: str) -> str | None:
    """Return TEXT for the one file that there is."""
    return TEXT if name == "p.yaml" else None


@pytest.mark.parametrize(
    ("place", "excerpt"),
    [
        ("1:1", ["    1 | one: 1", "      | ^^^"]),
        ("1:6", ["    1 | one: 1", "      |      ^"]),
        ("2:7", ["    2 |  two: 'a b' # c", "      |       ^^^^^"]),
        ("2:12", ["    2 |  two: 'a b' # c", "      |            ^"]),
        ("3:301", [f"    3 | {'x' * 50}: y", f"      | {' ' * 50}^"]),
    ],
)
def test_the_place_is_shown(place: str, excerpt: list[str]) -> None:
    message = f"p.yaml:{place}: what is wrong"
    assert with_excerpts(message, read).split("\n") == [message, *excerpt]


@pytest.mark.parametrize(
    "message",
    [
        "p.yaml: wrong",
        "p.yaml:99:1: wrong",
        "p.yaml:1:99: wrong",
        "p.yaml:0:0: wrong",
        "--set a=b:1:8: wrong",
        "",
    ],
)
def test_without_a_place_the_message_stays_as_it_is(message: str) -> None:
    assert with_excerpts(message, read) == message


def test_each_line_has_its_own_excerpt() -> None:
    shown = with_excerpts("p.yaml:1:1: one\np.yaml:2:2: two", read).split("\n")
    assert [line for line in shown if "|" not in line] == ["p.yaml:1:1: one", "p.yaml:2:2: two"]
    assert len(shown) == 6
