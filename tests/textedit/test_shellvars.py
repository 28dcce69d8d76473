from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgfix.errors import ParseError
from imgfix.textedit import kernel_args, shellvars

from .garbage import or_refused, texts

DEBIAN = """\
# If you change this file, run 'update-grub' afterwards to update
# /boot/grub/grub.cfg.
GRUB_DEFAULT=0
GRUB_TIMEOUT=5
GRUB_DISTRIBUTOR=`( . /etc/os-release; echo ${NAME:-Debian} ) 2>/dev/null || echo Debian`
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_CMDLINE_LINUX=""

# Uncomment to enable BadRAM filtering, modify to suit your needs
#GRUB_BADRAM="0x01234567,0xfefefefe,0x89abcdef,0xefefefef"
"""
EL9 = """\
GRUB_TIMEOUT=5
GRUB_DISTRIBUTOR="$(sed 's, release .*$,,g' /etc/system-release)"
GRUB_DEFAULT=saved
GRUB_DISABLE_SUBMENU=true
GRUB_TERMINAL_OUTPUT="console"
GRUB_CMDLINE_LINUX="crashkernel=1G-4G:192M resume=/dev/mapper/rhel-swap rd.lvm.lv=rhel/root rhgb quiet"
GRUB_DISABLE_RECOVERY="true"
GRUB_ENABLE_BLSCFG=true
"""
UBUNTU_CLOUDIMG = """\
# Cloud Image specific Grub settings for Generic Cloud Images
# CLOUD_IMG: This file was created/modified by the Cloud Image build process

# Set the recordfail timeout
GRUB_RECORDFAIL_TIMEOUT=0

# Set the grub console type
GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT console=tty1 console=ttyS0"
"""
SUSE = """\
# Uncomment to set your own custom distributor. If you leave it unset or empty, the default
# policy is to determine the value from /etc/os-release
GRUB_DISTRIBUTOR=
GRUB_CMDLINE_LINUX_DEFAULT="splash=silent resume=/dev/disk/by-uuid/1-2 quiet"
GRUB_CMDLINE_LINUX=""

## Path:\tSystem/Bootloader
## Type:\tlist(boot,root)
SUSE_BTRFS_SNAPSHOT_BOOTING='true'
"""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=x", "x"),
        ("A=", ""),
        ("A=\nB=1", ""),
        ("  A=x", "x"),
        ("A='x y'", "x y"),
        ('A="x y"', "x y"),
        ("A=x\\ y", "x y"),
        ("A='a'\"b\"c\\d", "abcd"),
        ("A='it'\\''s'", "it's"),
        ('A="a\\"b\\\\c\\$d\\`e\\f"', 'a"b\\c$d`e\\f'),
        ('A="a\\\nb"', "ab"),
        ("A=a\\\nb", "ab"),
        ("A='a\\\nb'", "a\\\nb"),
        ('A="a\nb"', "a\nb"),
        ("A=x # comment", "x"),
        ("A=x#y", "x#y"),
        ("# A=x", None),
        ("A =x", None),
        ("a=x", None),
        ("AB=x", None),
        ("export A=x", "x"),
        ("export B=1 A='x y'", "x y"),
        ("A=x; B=y", "x"),
        ("B=y;A=x", "x"),
        ("A=x command", None),
        ("A=x B=y command\nA=z", "z"),
        ("echo A=x", None),
        ("A=x then", None),
        ("(A=x)", None),
        ("A=y; ( A=x )", "y"),
        ("if true; then A=x; fi", "x"),
        ('[ -n "$B" ] && A=x', "x"),
        ("case $B in b) A=x;; esac", "x"),
        ("f() {\n  echo hi\n}\nA=x", "x"),
        ("cat <<EOF\nA=no\n'\nEOF\nA=x", "x"),
        ("cat <<-'END'\n\tA=no\n\tEND\nA=x", "x"),
        ("B=\"'\" A='\"'", '"'),
        ("A=x\nA=y", "y"),
        ("A=x\nA+=' y'", "x y"),
        ("A+=y", "y"),
        ("A=x\nA+=y\nA=z", "z"),
        ('A="$A console=ttyS0"', "$A console=ttyS0"),
        ("A=${B:-c d}e", "${B:-c d}e"),
        ('A="$(echo "a b")"', '$(echo "a b")'),
        ("A=`echo 'a b'`", "`echo 'a b'`"),
        ("A=$((1 + 2))", "$((1 + 2))"),
        ("A=$", "$"),
        ("A='$B'", "$B"),
        ("A=x\r\nB=y\r\n", "x"),
        ('A="x"\r\n', "x"),
        ("A=(a b)", "(a b)"),
        ("", None),
    ],
)
def test_get(text: str, value: str | None) -> None:
    assert shellvars.get(text, "A") == value


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("A='x\nB=1", 1),
        ('B=1\nA="x\n\n', 2),
        ("B=1\n\nA=$(x", 3),
        ("A=`x", 1),
        ("A=${x", 1),
        ("\necho 'x", 2),
        ("A=(x", 1),
    ],
)
def test_what_is_not_closed_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ParseError) as caught:
        shellvars.assignments(text)
    assert caught.value.line == line


def test_assignments_of_a_real_file() -> None:
    found = shellvars.assignments(EL9)
    assert [(one.name, one.line, one.quote) for one in found][1:6] == [
        ("GRUB_DISTRIBUTOR", 2, '"'),
        ("GRUB_DEFAULT", 3, ""),
        ("GRUB_DISABLE_SUBMENU", 4, ""),
        ("GRUB_TERMINAL_OUTPUT", 5, '"'),
        ("GRUB_CMDLINE_LINUX", 6, '"'),
    ]
    assert [one.quote for one in shellvars.assignments("A='x'y B=\"x\"'y' C='x' D=x E=x\\y F=\"\\\\\"")] == [
        *("mixed", "mixed", "'", "", "", '"'),
    ]


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        ("A=x\n", "y", "A=y\n"),
        ("A=x # c\n", "y z", 'A="y z" # c\n'),
        ("A='x'\n", "y z", "A='y z'\n"),
        ("A='x'\n", "it's", 'A="it\'s"\n'),
        ('A="x"\r\nB=1\r\n', 'a"b\\c$d`e\\', 'A="a\\"b\\c\\$d\\`e\\\\"\r\nB=1\r\n'),
        ("  export A=x B=1", "y", "  export A=y B=1"),
        ("A=x\nA=z", "y", "A=x\nA=y"),
        ("A=x\nA=y", "y", "A=x\nA=y"),
        ("A=x A+=' y'\n", "x z", "A=x A+=' z'\n"),
        ("A=x\nA+=' y'\n", "z", "A=x\nA='z'\n"),
        ("", "y", "A=y\n"),
        ("B=1", "y z", 'B=1\nA="y z"\n'),
        ("B=1\r\n", "", 'B=1\r\nA=""\r\n'),
        ("#A=x\n", "y", "#A=x\nA=y\n"),
        ('A="$B x"', "$B y", 'A="$B y"'),
        ("A=$B", "$B y", 'A="$B y"'),
        ('A="$B"', "$C", 'A="\\$C"'),
        ('A="$B x"', "$Bx $B", 'A="\\$Bx $B"'),
        ("A='$B'", "$B", "A='$B'"),
        ("A=x", "a\nb", 'A="a\nb"'),
    ],
)
def test_set_value(before: str, value: str, after: str) -> None:
    assert shellvars.set_value(before, "A", value) == after
    assert shellvars.get(after, "A") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=(a b)\n", "x"),
        ('A="\\$B $B"\n', "$B $B x"),
        ('A="$B"x\n', "$Bx y"),
        ("A=${B:-'c'}\n", "${B:-'c'} x"),
        ("A=~/x\n", "~/x y"),
        ("cat <<EOF\nA=1", "x"),
    ],
)
def test_what_cannot_be_edited_safely_is_refused(text: str, value: str) -> None:
    with pytest.raises(ParseError):
        shellvars.set_value(text, "A", value)


@pytest.mark.parametrize(("name", "value"), [("", "x"), ("1A", "x"), ("A B", "x"), ("A", "\0")])
def test_what_no_shell_can_hold_is_an_error_of_the_caller(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="not a shell assignment"):
        shellvars.set_value("", name, value)


def add_console(cmdline: str) -> str:
    return kernel_args.edit(cmdline, add=["console=ttyS0"], remove=["quiet"])


@pytest.mark.parametrize(
    ("text", "name", "old", "new"),
    [
        (DEBIAN, "GRUB_CMDLINE_LINUX_DEFAULT", '="quiet"', '="console=ttyS0"'),
        (DEBIAN, "GRUB_CMDLINE_LINUX", 'LINUX=""', 'LINUX="console=ttyS0"'),
        (EL9, "GRUB_CMDLINE_LINUX", "rhgb quiet", "rhgb console=ttyS0"),
        (UBUNTU_CLOUDIMG, "GRUB_CMDLINE_LINUX_DEFAULT", "", ""),
        (SUSE, "GRUB_CMDLINE_LINUX_DEFAULT", " quiet", " console=ttyS0"),
    ],
)
def test_map_value_changes_one_value_only(text: str, name: str, old: str, new: str) -> None:
    assert shellvars.map_value(text, name, add_console) == (text.replace(old, new) if old else text)


def test_map_value_keeps_the_variable_live() -> None:
    new = shellvars.map_value(UBUNTU_CLOUDIMG, "GRUB_CMDLINE_LINUX_DEFAULT", lambda value: f"{value} $x")
    assert '"$GRUB_CMDLINE_LINUX_DEFAULT console=tty1 console=ttyS0 \\$x"' in new


def test_map_value_edits_every_assignment() -> None:
    text = "A='x'\nB=x\nA=\"x\" # c\nA+=x\n"
    assert shellvars.map_value(text, "A", str.upper) == "A='X'\nB=x\nA=\"X\" # c\nA+=X\n"


def test_map_value_does_not_tear_a_command() -> None:
    with pytest.raises(ParseError, match="would change"):
        shellvars.map_value('A="$(cat quiet x) y"', "A", lambda v: v.replace("quiet", ""))


VALUES = st.text(st.sampled_from(" abcXYZ09'\"\\$`#~!*?;&|(){}<>=\n\té/"), max_size=14)
PLAIN = st.text(st.sampled_from(" ab'\"\\$#\n"), max_size=6)
FRAGMENTS = (
    "A=",
    "A+=",
    "B=",
    "export ",
    "$A",
    "$(",
    "${",
    ")",
    "}",
    "`",
    ";",
    "<<E",
    "\nE\n",
    "if ",
    "(",
    "\\\n",
)


def shell_reads(tmp_path: Path, text: str) -> str:
    """Return what a real shell makes of A."""
    (tmp_path / "vars").write_bytes(text.encode("utf-8", "surrogateescape"))
    script = '. "$1" && printf %s "$A"'
    done = subprocess.run(("sh", "-c", script, "sh", str(tmp_path / "vars")), capture_output=True, check=True)
    return done.stdout.decode("utf-8", "surrogateescape")


with_shell = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@with_shell
@given(
    VALUES, st.sampled_from(("", "A=x", "A='x'\n", 'A="x" # c\n', "A=a'b'\n", "B='\n'\nA=1\n", "A=z; B=1\n"))
)
def test_a_shell_reads_what_was_set(tmp_path: Path, value: str, text: str) -> None:
    new = shellvars.set_value(text, "A", value)
    assert shellvars.get(new, "A") == value
    assert shellvars.set_value(new, "A", value) == new
    assert shell_reads(tmp_path, new) == value


def single(text: str) -> str:
    return "'" + text.replace("'", "") + "'"


def double(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'


def escaped(text: str) -> str:
    return "".join(f"\\{char}" for char in text)


WORDS = st.lists(
    st.builds(lambda quote, text: quote(text), st.sampled_from((single, double, escaped)), PLAIN)
)


@with_shell
@given(WORDS)
def test_get_reads_as_a_shell_does(tmp_path: Path, pieces: list[str]) -> None:
    text = f"# it's\nA={''.join(pieces)} # \"c\n"
    assert shellvars.get(text, "A") == shell_reads(tmp_path, text)


@given(texts(*FRAGMENTS), VALUES)
def test_garbage_is_edited_or_refused(text: str, value: str) -> None:
    new = or_refused(lambda: shellvars.set_value(text, "A", value))
    if new is not None:
        assert shellvars.get(new, "A") == value
        assert shellvars.set_value(new, "A", value) == new


@given(texts(*FRAGMENTS))
def test_map_value_is_idempotent(text: str) -> None:
    new = or_refused(lambda: shellvars.map_value(text, "A", str.upper))
    if new is not None:
        assert shellvars.map_value(new, "A", str.upper) == new
        others = [(one.name, one.value) for one in shellvars.assignments(text) if one.name != "A"]
        assert [(one.name, one.value) for one in shellvars.assignments(new) if one.name != "A"] == others
