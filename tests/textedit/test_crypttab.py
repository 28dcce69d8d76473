from __future__ import annotations

import pytest
from hypothesis import given

from imgfix.errors import ParseError
from imgfix.textedit import crypttab

from .garbage import or_refused, texts

DEBIAN = """\
# <target name>\t<source device>\t\t<key file>\t<options>
vda5_crypt UUID=0ab3b3e8-1111-4e15-a94a-4ae5e5fd0f01 none luks,discard
cryptswap /dev/vda6 /dev/urandom swap,cipher=aes-xts-plain64,size=256
"""


def test_parse() -> None:
    _, root, swap = crypttab.parse(DEBIAN)
    assert root.entry is not None
    assert (root.entry.name, root.entry.key, root.entry.options) == (
        "vda5_crypt",
        "none",
        ("luks", "discard"),
    )
    assert swap.entry == crypttab.Entry(
        3, "cryptswap", "/dev/vda6", "/dev/urandom", ("swap", "cipher=aes-xts-plain64", "size=256")
    )
    assert crypttab.parse("a b")[0].entry == crypttab.Entry(1, "a", "b")


def test_a_name_alone_is_refused() -> None:
    with pytest.raises(ParseError) as caught:
        crypttab.parse("# x\nname\n")
    assert caught.value.line == 2


def test_edits_keep_all_else() -> None:
    new = crypttab.remove(DEBIAN, lambda entry: "swap" in entry.options)
    assert new == DEBIAN[: DEBIAN.index("cryptswap")]
    new = crypttab.replace_specs(DEBIAN, {"/dev/vda6": "PARTUUID=1"})
    assert new == DEBIAN.replace("/dev/vda6", "PARTUUID=1")
    # The name is not a device.
    assert crypttab.replace_specs(DEBIAN, {"cryptswap": "x"}) == DEBIAN


@given(texts("name ", "/dev/sda1 ", "swap"))
def test_garbage_is_edited_or_refused(text: str) -> None:
    new = or_refused(lambda: crypttab.replace_specs(text, {"/dev/sda1": "UUID=1"}))
    if new is not None:
        assert crypttab.replace_specs(new, {"/dev/sda1": "UUID=1"}) == new
        assert len(crypttab.parse(new)) == len(crypttab.parse(text))
