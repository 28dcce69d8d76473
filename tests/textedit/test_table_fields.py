from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfix.textedit import table_fields

from .garbage import texts


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("/mnt/a\\040b", "/mnt/a b"),
        ("a\\011b\\134", "a\tb\\"),
        ("\\303\\251", "é"),
        ("\\377", "\udcff"),
        ("\\04", "\\04"),
        ("\\089", "\\089"),
        ("\\\\040", "\\ "),
    ],
)
def test_decode(raw: str, text: str) -> None:
    assert table_fields.decode(raw) == text


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_encode_makes_one_field_that_decodes_to_the_same(text: str) -> None:
    raw = table_fields.encode(text)
    assert table_fields.decode(raw) == text
    assert [field.raw for field in table_fields.cut(raw + "\n")] == [raw]


@given(texts("UUID=1", "\\040"))
def test_fields_stand_where_they_say(line: str) -> None:
    for field in table_fields.cut(line):
        assert line[field.start : field.end] == field.raw


@pytest.mark.parametrize(
    ("line", "raw", "new"),
    [
        ("/dev/sda1   /   ext4\n", "/dev/sdb", "/dev/sdb    /   ext4\n"),
        ("/dev/sda1   /   ext4\n", "LABEL=abcd", "LABEL=abcd  /   ext4\n"),
        ("/dev/sda1   /   ext4\n", "UUID=1234-5678", "UUID=1234-5678 /   ext4\n"),
        ("/dev/sda1 / ext4\n", "a", "a / ext4\n"),
        ("/dev/sda1\t/\text4\r\n", "UUID=1234-5678", "UUID=1234-5678\t/\text4\r\n"),
        ("/dev/sda1  ", "x", "x  "),
    ],
)
def test_columns_stay_where_there_is_room(line: str, raw: str, new: str) -> None:
    assert table_fields.with_field(line, table_fields.cut(line)[0], raw) == new


def test_a_mapping_that_leads_on_is_refused() -> None:
    with pytest.raises(ValueError, match="final names"):
        table_fields.with_column("a b\n", 0, {"a": "b", "b": "c"})
