from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from imgfix.errors import ParseError
from imgfix.textedit import modprobe
from imgfix.textedit.modprobe import Directive, Effect

from .garbage import or_refused, texts

CIS = """\
# Ensure mounting of udf is disabled
install udf /bin/true
install cramfs /bin/true
blacklist\tudf

options nvme_core io_timeout=240
install vfat \\
    /bin/false  # off
"""

GARBAGE = texts(
    *(
        "install ",
        "blacklist ",
        "alias ",
        "udf ",
        "vf-at",
        "[a-z]",
        "[",
        "]",
        "off",
        "/bin/true",
        "\\\n",
        "*",
    ),
)


def test_parse() -> None:
    assert modprobe.parse(CIS) == (
        Directive(2, 2, "install", "udf", "/bin/true"),
        Directive(3, 3, "install", "cramfs", "/bin/true"),
        Directive(4, 4, "blacklist", "udf"),
        Directive(7, 8, "install", "vfat", "    /bin/false  # off"),
    )
    assert str(modprobe.parse("alias net-pf-10\toff x")[0]) == "alias net_pf_10 off"


@pytest.mark.parametrize(
    "text",
    [
        "# \\\ninstall udf /bin/true",  # a comment that goes on
        "install udf",
        "install udf \n",
        "blacklist \n",
        "alias udf\n",
        "Blacklist udf",
        "blacklist,udf",
        "blacklist ud[f",
        "blacklist ud]f",
        "\x0cblacklist udf",
    ],
)
def test_what_kmod_passes_over(text: str) -> None:
    assert modprobe.parse(text) == ()
    assert modprobe.remove(text, lambda _: True) == text


def test_names() -> None:
    (pattern,) = modprobe.parse("install hv-* /bin/true")
    assert pattern.names("hv_netvsc")
    assert pattern.is_pattern
    assert not pattern.names("udf")
    (blacklist,) = modprobe.parse("blacklist hv_*")
    assert not blacklist.names("hv_netvsc")  # no patterns here
    assert not blacklist.is_pattern
    # A carriage return belongs to the name, which then names nothing.
    assert not modprobe.parse("blacklist udf\r\n")[0].names("udf")


@pytest.mark.parametrize(
    ("command", "effect"),
    [
        ("/bin/true", Effect.NEVER),
        ("/usr/bin/false\r", Effect.NEVER),
        (":", Effect.NEVER),
        (" ", Effect.NEVER),
        ("/dev/null", Effect.NEVER),
        ("/bin/true # modprobe udf", Effect.NEVER),
        ("logger udf; exit 1", Effect.NEVER),
        ("{ echo no; } || false", Effect.NEVER),
        ("/sbin/modprobe --ignore-install udf", Effect.LOADS),
        ("logger udf && /sbin/modprobe -i udf", Effect.LOADS),
        ("if [ -e /x ]; then /sbin/insmod /x; fi", Effect.LOADS),
        ("LANG=C exec modprobe -i udf", Effect.LOADS),
        ("(modprobe -i udf)", Effect.LOADS),
        ("/usr/local/bin/load-udf", Effect.UNKNOWN),
        ("/bin/sh -c 'exit 1'", Effect.UNKNOWN),
    ],
)
def test_effect_of_a_command(command: str, effect: Effect) -> None:
    (directive,) = modprobe.parse(f"install udf {command}")
    assert directive.effect is effect


def test_remove_takes_whole_directives_and_nothing_else() -> None:
    new = modprobe.remove(CIS, lambda directive: directive.names("vfat"))
    assert new == CIS[: CIS.index("install vfat")]
    new = modprobe.remove(CIS, lambda directive: directive.names("udf"))
    assert new == CIS.replace("install udf /bin/true\n", "").replace("blacklist\tudf\n", "")
    assert modprobe.remove("blacklist a\nblacklist b", lambda d: d.names("b")) == "blacklist a\n"


def test_a_nul_is_refused() -> None:
    with pytest.raises(ParseError) as caught:
        modprobe.parse("blacklist a\nblacklist \0b\n")
    assert caught.value.line == 2


@given(GARBAGE)
def test_removed_is_gone_and_the_rest_as_it_was(text: str) -> None:
    found = or_refused(lambda: modprobe.parse(text))
    if found is None:
        return
    drop = set(found[::2])
    new = modprobe.remove(text, lambda directive: directive in drop)
    left = [str(d) for d in found if d not in drop]
    assert [str(d) for d in modprobe.parse(new)] == left
    assert modprobe.remove(new, lambda directive: str(directive) not in left) == new


@given(text=GARBAGE)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_modprobe_reads_the_same(text: str, tmp_path: Path) -> None:
    text += "\n"  # kmod before 31 makes a character of a backslash at the end of the file
    found = or_refused(lambda: modprobe.parse(text))
    if found is None:
        return
    (tmp_path / "a.conf").write_bytes(text.encode("utf-8", "surrogateescape"))
    done = subprocess.run(("modprobe", "-c", "-C", str(tmp_path)), capture_output=True, check=True)
    config = done.stdout.split(b"\n# End of configuration")[0].decode("utf-8", "surrogateescape")
    keywords = ("blacklist ", "install ", "alias ")
    theirs = [line.split() for line in config.split("\n") if line.startswith(keywords)]
    assert sorted(theirs) == sorted(str(d).split() for d in found)
