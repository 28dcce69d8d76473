from __future__ import annotations

from hypothesis import given

from imgfix.textedit import physical_lines

from .garbage import texts


@given(texts())
def test_lines_join_to_the_same_text(text: str) -> None:
    lines = physical_lines.split(text)
    assert "".join(lines) == text
    assert all(line.count("\n") == line.endswith("\n") for line in lines)
    assert all("".join(physical_lines.body_and_end(line)) == line for line in lines)


def test_only_line_feeds_cut() -> None:
    assert physical_lines.split("a\rb\x0cc\x85d\u2028e\nf") == ["a\rb\x0cc\x85d\u2028e\n", "f"]
    assert physical_lines.split("") == []


def test_newline_follows_the_first_line() -> None:
    assert physical_lines.newline("a\r\nb\n") == "\r\n"
    assert physical_lines.newline("a\nb\r\n") == "\n"
    assert physical_lines.newline("a") == "\n"


def test_insert_supplies_the_missing_newline() -> None:
    assert physical_lines.insert(["a"], 1, "b", "\n") == ["a\n", "b\n"]
    assert physical_lines.insert([], 0, "b", "\r\n") == ["b\r\n"]
