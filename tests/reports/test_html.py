"""The page: whole, alone, and not to be driven by what a guest holds."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from imgfix.diary import Diary
from imgfix.reports.html import page
from tests.reports import sample

#: Elements that a browser closes by itself.
_VOID = {"meta", "rect", "line"}


class Reader(HTMLParser):
    """Reads a page: its tags, whether they nest, its attributes and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.texts = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {(name, value or "") for name, value in attrs}
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {(name, value or "") for name, value in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts += data


@pytest.mark.parametrize(
    "diary", [sample.diary(), sample.failed(), Diary()], ids=["ready", "failed", "nothing"]
)
def test_no_text_of_a_guest_becomes_part_of_the_page(diary: Diary) -> None:
    text = page(sample.report(diary))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", text)
    read = Reader(text)
    assert not read.tags & {"script", "link", "img", "iframe", "object", "base", "form"}
    assert not [
        name for name, _ in read.attributes if name.startswith("on") or name in ("style", "src", "xlink:href")
    ]
    assert all(value.startswith("#") for name, value in read.attributes if name == "href")


def test_nothing_is_fetched_from_elsewhere() -> None:
    text = page(sample.report(sample.diary()))
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_a_page_tells_what_changed() -> None:
    told = " ".join(Reader(page(sample.report(sample.diary()))).texts.split())
    for words in (
        "Ready for Azure",
        "/out/web 1.vhd",
        "/etc/fstab no swap on the OS disk",
        "-/swap none swap sw 0 0",
        "module \u2192 initramfs",
        "az disk create",
        "1" * 64,
        "<script>alert(1)",
        "private keys stay",
    ):
        assert words in told, words


def test_the_page_of_a_failure_says_where_and_what_next() -> None:
    told = " ".join(Reader(page(sample.report(sample.failed()))).texts.split())
    assert "Not published" in told
    assert "The apply failed at: change the guest" in told
    assert "it failed:" in told
    assert "Next: try it" in told
    assert "guestfish --rw" in told
    assert "az disk create" not in told
