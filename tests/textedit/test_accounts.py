from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfix.errors import ParseError
from imgfix.textedit import accounts
from imgfix.textedit.accounts import Kind

from .garbage import or_refused, texts

PASSWD = """\
root:x:0:0:root:/root:/bin/bash
sync:x:4:65534:sync:/bin:/bin/sync
azureuser:x:1000:1000:Ubuntu,,,:/home/azureuser:/bin/bash
+@admins::::::
"""
SHADOW = """\
root:$6$salt$hash:19500:0:99999:7:::
daemon:*:19500:0:99999:7:::
azureuser:!$6$salt$hash:19500:0:99999:7:::
"""
GROUP = "root:x:0:\nadm:x:4:syslog,azureuser\nsudo:x:27:azureuser,azureuser2\nazureuser:x:1000:\n"
GSHADOW = "root:*::\nadm:!:azureuser:syslog,azureuser\n"


def test_parse() -> None:
    found = accounts.parse(PASSWD, Kind.PASSWD)
    assert [account.name for account in found] == ["root", "sync", "azureuser"]
    assert found[2].fields[5] == "/home/azureuser"
    assert found[2].line == 3
    assert len(accounts.parse(SHADOW, Kind.SHADOW)) == 3
    assert accounts.parse("# comment\n\n+\n-bad\n", Kind.PASSWD) == ()


@pytest.mark.parametrize(
    ("text", "kind"), [("a:b\n", Kind.PASSWD), (":x:0:0:::\n", Kind.PASSWD), (PASSWD, Kind.SHADOW)]
)
def test_a_wrong_number_of_fields_is_refused(text: str, kind: Kind) -> None:
    with pytest.raises(ParseError, match=f"{kind.value}: [0-9]+ fields") as caught:
        accounts.parse(text, kind)
    assert caught.value.line == 1


@pytest.mark.parametrize(
    ("user", "marker", "keep_hash", "old", "new"),
    [
        ("root", "*LOCK*", False, "root:$6$salt$hash", "root:*LOCK*"),
        ("root", "!", True, "root:$6$salt$hash", "root:!$6$salt$hash"),
        ("azureuser", "!", True, "", ""),
        ("azureuser", "!", False, "user:!$6$salt$hash", "user:!"),
        ("daemon", "*", False, "", ""),
        ("nobody", "!", False, "", ""),
    ],
)
def test_lock_password(user: str, marker: str, keep_hash: bool, old: str, new: str) -> None:
    locked = accounts.lock_password(SHADOW, user, marker=marker, keep_hash=keep_hash)
    assert locked == (SHADOW.replace(old, new) if old else SHADOW)
    assert accounts.lock_password(locked, user, marker=marker, keep_hash=keep_hash) == locked


@pytest.mark.parametrize("marker", ["", "x", "!:", "!\n"])
def test_a_marker_that_does_not_lock_is_refused(marker: str) -> None:
    with pytest.raises(ValueError, match="not a marker"):
        accounts.lock_password(SHADOW, "root", marker=marker)


def test_remove_user() -> None:
    assert accounts.remove_user(PASSWD, "azureuser") == PASSWD.replace(PASSWD.splitlines()[2] + "\n", "")
    assert accounts.remove_user(SHADOW, "azure", Kind.SHADOW) == SHADOW
    assert accounts.remove_user(GROUP, "azureuser", Kind.GROUP) == GROUP.replace("azureuser:x:1000:\n", "")
    assert accounts.remove_user("a:x:0:0:::\r\nb:x:1:1:::", "b") == "a:x:0:0:::\r\n"


def test_remove_member() -> None:
    new = accounts.remove_member(GROUP, "azureuser")
    assert new == "root:x:0:\nadm:x:4:syslog\nsudo:x:27:azureuser2\nazureuser:x:1000:\n"
    assert accounts.remove_member(GSHADOW, "azureuser", Kind.GSHADOW) == "root:*::\nadm:!::syslog\n"
    assert accounts.remove_member("a:x:1000:b", "1000") == "a:x:1000:b"


@given(texts("root", ":", ":x:0:0:::\n", "root:x:0:a,root\n", max_size=8), st.sampled_from(Kind))
def test_garbage_is_edited_or_refused(text: str, kind: Kind) -> None:
    new = or_refused(lambda: accounts.remove_user(text, "root", kind))
    if new is not None:
        assert accounts.remove_user(new, "root", kind) == new
        others = [one.fields for one in accounts.parse(text, kind) if one.name != "root"]
        assert [one.fields for one in accounts.parse(new, kind)] == others
        members = accounts.remove_member(new, "root", kind)
        assert accounts.remove_member(members, "root", kind) == members
    locked = or_refused(lambda: accounts.lock_password(text, "root"))
    if locked is not None:
        assert accounts.lock_password(locked, "root") == locked
