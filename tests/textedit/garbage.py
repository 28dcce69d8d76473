"""Strategies for texts that no editor was made for, and the promise every editor keeps on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hypothesis import strategies as st

from imgfix.errors import ParseError

T = TypeVar("T")


def texts(*fragments: str, max_size: int = 12) -> st.SearchStrategy[str]:
    """Texts made of `fragments` of the grammar, line ends of all kinds, and stray characters."""
    common = (
        " ",
        "\t",
        "\n",
        "\r\n",
        "\r",
        "=",
        "#",
        '"',
        "'",
        "\\",
        "\v",
        "\x85",
        "\u2028",
        "\udcff",
        "é",
        "a",
    )
    stray = st.characters(max_codepoint=0x2100)
    return st.lists(st.sampled_from((*common, *fragments)) | stray, max_size=max_size).map("".join)


def or_refused(fn: Callable[[], T]) -> T | None:
    """Return what `fn` gives, or None if it refuses the text; any other exception is a failure."""
    try:
        return fn()
    except ParseError:
        return None
