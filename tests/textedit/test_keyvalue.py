from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfix.textedit import keyvalue

from .garbage import texts

# Abridged from the waagent.conf of the agent's own tree, and of Ubuntu and SUSE.
CONF = """\
#
# Microsoft Azure Linux Agent Configuration
#

# Enable extension handling. Do not disable this unless you do not need password reset,
Extensions.Enabled=y

# Which provisioning agent to use. Supported values are "auto" (default), "waagent",
Provisioning.Agent=auto

# Format if unformatted. If 'n', resource disk will not be mounted.
ResourceDisk.Format=n   # cloud-init does it

# Mount point for the resource disk
# ResourceDisk.MountPoint=/mnt

# Size of the swapfile.
ResourceDisk.SwapSizeMB = 0
HttpProxy.Host=None
"""


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("Key=y", "y"),
        ("Key = y", "y"),
        ("  Key=y\t", "y"),
        ("Key=y # why", "y"),
        ("Key=y#why", "y"),
        ('Key="y"', "y"),
        ("Key=", ""),
        ("Key= # nothing", ""),
        ("Key=a=b", "a=b"),
        ("Key=y\r", "y"),
        ("key=y", None),
        ("#Key=y", None),
        (" # Key=y", None),
        ("Key y", None),
        ("Key=None", None),
        ("Key=n\nKey=y", "y"),
        ("Key=y\n#Key=n", "y"),
        ("", None),
    ],
)
def test_get_reads_as_the_agent_does(line: str, value: str | None) -> None:
    assert keyvalue.get(line, "Key") == value


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Key=n\n", "Key=y\n"),
        ("Key = n   # why\n", "Key = y   # why\n"),
        ('Key="n"\n', 'Key="y"\n'),
        ('Key="" # empty\n', 'Key="y" # empty\n'),
        ("Key= # empty\n", "Key=y # empty\n"),
        ("Key=n\r\nB=1\r\n", "Key=y\r\nB=1\r\n"),
        ("Key=n", "Key=y"),
        ("Key=n\nKey=n\n", "Key=n\nKey=y\n"),
        ("Key=y\nKey=n\n", "Key=y\nKey=y\n"),
        ("Key=None\n", "Key=y\n"),
        # The agent strips quotes before tabs, so these quotes would become part of the value.
        ('Key="\t\r\n', "Key=y\r\n"),
        ('Key="n"\t# why\n', "Key=y # why\n"),
        ("", "Key=y\n"),
        ("A=1", "A=1\nKey=y\n"),
        ("A=1\r\n", "A=1\r\nKey=y\r\n"),
        ("# Key=n\nA=1\n", "# Key=n\nKey=y\nA=1\n"),
        ("A=1\n#Key=n", "A=1\n#Key=n\nKey=y\n"),
        ("key=n\n", "key=n\nKey=y\n"),
        ("Key=y # stays\n", "Key=y # stays\n"),
    ],
)
def test_set_value(before: str, after: str) -> None:
    assert keyvalue.set_value(before, "Key", "y") == after


def test_a_real_file_changes_in_one_line_only() -> None:
    new = keyvalue.set_value(CONF, "ResourceDisk.Format", "y")
    assert new == CONF.replace("Format=n ", "Format=y ")
    new = keyvalue.set_value(CONF, "ResourceDisk.MountPoint", "/mnt/resource")
    assert new == CONF.replace("=/mnt\n", "=/mnt\nResourceDisk.MountPoint=/mnt/resource\n")
    assert keyvalue.set_value(CONF, "Provisioning.Agent", "auto") is CONF


@pytest.mark.parametrize(
    ("key", "value"), [("", "y"), ("#a", "y"), ("a=b", "y"), ("a", "b#c"), ("a", " b"), ("a", "b\nc")]
)
def test_what_the_grammar_cannot_hold_is_refused(key: str, value: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        keyvalue.set_value("", key, value)


VALUES = st.text("yn/-=.0 é", max_size=6).map(lambda s: s.strip('" ').strip()).filter(lambda s: s != "None")


@given(texts("Key", "Key=", "# Key=", "Key = ", "y", '""'), VALUES)
def test_set_is_read_back_and_idempotent(text: str, value: str) -> None:
    new = keyvalue.set_value(text, "Key", value)
    assert keyvalue.get(new, "Key") == value
    assert keyvalue.set_value(new, "Key", value) == new
    assert other_lines(new) == other_lines(text)


def other_lines(text: str) -> list[str]:
    """Return the lines that do not set Key, without their ends."""
    lines = [line.rstrip("\r") for line in text.split("\n")]
    return [line for line in lines if line and line.split("=")[0].strip() != "Key"]
