from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfix.errors import ParseError
from imgfix.textedit import kernel_args

from .garbage import or_refused, texts

AZURE = ("rootdelay=300", "console=ttyS0", "earlyprintk=ttyS0", "net.ifnames=0")
UNWANTED = ("rhgb", "quiet", "crashkernel=auto")


@pytest.mark.parametrize(
    ("cmdline", "args"),
    [
        ("", ()),
        ("  \t ", ()),
        ("ro quiet", ("ro", "quiet")),
        (" ro\t quiet ", ("ro", "quiet")),
        ('foo="a b" c', ('foo="a b"', "c")),
        ('"foo=a b" c', ('"foo=a b"', "c")),
        ('dyndbg="file a.c +p; file b.c +p"', ('dyndbg="file a.c +p; file b.c +p"',)),
        ("a\u00a0b", ("a\u00a0b",)),
        ("ro -- single", ("ro", "--", "single")),
        ("it's", ("it's",)),
    ],
)
def test_split(cmdline: str, args: tuple[str, ...]) -> None:
    assert kernel_args.split(cmdline) == args


def test_an_unclosed_quote_is_refused() -> None:
    with pytest.raises(ParseError, match="not closed"):
        kernel_args.split('ro foo="a b')


@pytest.mark.parametrize(
    ("before", "add", "remove", "after"),
    [
        # Nothing to do: spacing stays as it is.
        ("  ro\t quiet  ", [], [], "  ro\t quiet  "),
        ("  ro\t quiet  ", ["ro"], ["rhgb"], "  ro\t quiet  "),
        # Flags.
        ("", ["quiet"], [], "quiet"),
        ("ro ", ["quiet"], [], "ro quiet "),
        ("ro quiet", ["quiet"], [], "ro quiet"),
        ("quiet=1", ["quiet"], [], "quiet=1 quiet"),
        # Single values are replaced in place, several collapse into the one in force.
        ("ro rootdelay=10 x", ["rootdelay=300"], [], "ro rootdelay=300 x"),
        ("rootdelay=10 ro rootdelay=20 x", ["rootdelay=300"], [], "ro rootdelay=300 x"),
        ("rootdelay=300 ro rootdelay=300", ["rootdelay=300"], [], "ro rootdelay=300"),
        ("  rootdelay=10  ro rootdelay=20", ["rootdelay=300"], [], "  ro rootdelay=300"),
        # Dash and underscore are one in names, not in values.
        ("nvme-core.io-timeout=30", ["nvme_core.io_timeout=240"], [], "nvme_core.io_timeout=240"),
        ("nvme-core.io-timeout=240", ["nvme_core.io_timeout=240"], [], "nvme-core.io-timeout=240"),
        ("a=b-c", ["a=b_c"], [], "a=b_c"),
        # Quotes do not matter to what an argument says.
        ('foo="a b"', ['"foo=a b"'], [], 'foo="a b"'),
        ('foo="a"', ["foo=a"], [], 'foo="a"'),
        # Several values.
        ("rd.lvm.lv=rhel/root", ["rd.lvm.lv=rhel/usr"], [], "rd.lvm.lv=rhel/root rd.lvm.lv=rhel/usr"),
        ("rd.lvm.lv=rhel/root", ["rd.lvm.lv=rhel/root"], [], "rd.lvm.lv=rhel/root"),
        # Removal by pattern over the whole argument.
        ("ro rhgb quiet", [], ["quiet", "rhgb"], "ro"),
        ("rhgb quiet", [], ["quiet", "rhgb"], ""),
        (" rhgb  ro", [], ["rhgb"], " ro"),
        ("quiet=1 unquiet", [], ["quiet"], "quiet=1 unquiet"),
        ("rd.lvm.lv=rhel/root rd.lvm.lv=rhel/swap ro", [], ["rd.lvm.lv=rhel/swap"], "rd.lvm.lv=rhel/root ro"),
        ("resume=UUID=1-2 resume_offset=5", [], ["resume=*"], "resume_offset=5"),
        ("rd-foo_bar=1", [], ["rd_foo-bar=*"], ""),
        ("ttyS0 ttyS5 ttyS-", [], ["ttyS[0-4]"], "ttyS5 ttyS-"),
        ('foo="a b" ro', [], ["foo=a b"], "ro"),
        ("crashkernel=auto", ["crashkernel=256M"], ["crashkernel=*"], "crashkernel=256M"),
        # Variables of GRUB are words like others.
        ("$kernelopts $tuned_params quiet", ["ro"], ["quiet"], "$kernelopts $tuned_params ro"),
        # Arguments of init are not the kernel's.
        ("ro -- quiet", ["rootdelay=300"], ["quiet"], "ro rootdelay=300 -- quiet"),
        ("-- quiet", ["ro"], ["quiet"], "ro -- quiet"),
        ("quiet -- x", [], ["quiet"], " -- x"),
    ],
)
def test_edit(before: str, add: list[str], remove: list[str], after: str) -> None:
    assert kernel_args.edit(before, add=add, remove=remove) == after
    assert kernel_args.edit(after, add=add, remove=remove) == after


@pytest.mark.parametrize(
    ("before", "add", "after"),
    [
        ("", ["console=ttyS0"], "console=ttyS0"),
        ("ro", ["console=ttyS0"], "ro console=ttyS0"),
        ("console=ttyS0,115200n8 ro", ["console=ttyS0"], "console=ttyS0,115200n8 ro"),
        ("console=tty0 ro", ["console=ttyS0"], "console=tty0 ro console=ttyS0"),
        ("console=ttyS0,115200 a console=tty0 b", ["console=ttyS0"], "console=tty0 a console=ttyS0,115200 b"),
        (
            "console=ttyS0 console=ttyS1 console=tty0",
            ["console=ttyS0"],
            "console=ttyS1 console=tty0 console=ttyS0",
        ),
        # The kernel takes the options of the first of two for one device.
        (
            "console=ttyS0,9600 a console=tty0 console=ttyS0",
            ["console=ttyS0"],
            "a console=tty0 console=ttyS0,9600",
        ),
        ("console=tty0 console=ttyS0 b console=ttyS0", ["console=ttyS0"], "console=tty0 b console=ttyS0"),
        ("console=ttyS0", ["console=ttyS0,115200"], "console=ttyS0,115200"),
        ("console=ttyS01", ["console=ttyS0"], "console=ttyS01 console=ttyS0"),
        ("", ["console=tty1", "console=ttyS0"], "console=tty1 console=ttyS0"),
        ("console=ttyS0 console=tty1", ["console=tty1", "console=ttyS0"], "console=tty1 console=ttyS0"),
        ("console=ttyS0 x -- y", ["console=tty1", "console=ttyS0"], "console=tty1 x console=ttyS0 -- y"),
    ],
)
def test_the_wanted_console_is_the_last(before: str, add: list[str], after: str) -> None:
    assert kernel_args.edit(before, add=add, remove=[]) == after
    assert kernel_args.edit(after, add=add, remove=[]) == after


def test_other_consoles_can_be_removed_by_pattern() -> None:
    edited = kernel_args.edit(
        "console=tty0 console=ttyS0,9600n8", add=["console=ttyS0"], remove=["console=*"]
    )
    assert edited == "console=ttyS0,9600n8"


def test_el9_command_line() -> None:
    before = (
        "crashkernel=auto resume=/dev/mapper/rhel-swap rd.lvm.lv=rhel/root rd.lvm.lv=rhel/swap rhgb quiet"
    )
    after = kernel_args.edit(before, add=AZURE, remove=(*UNWANTED, "resume=*", "rd.lvm.lv=rhel/swap"))
    assert after == "rd.lvm.lv=rhel/root rootdelay=300 earlyprintk=ttyS0 net.ifnames=0 console=ttyS0"


@pytest.mark.parametrize(
    ("cmdline", "words"),
    [
        ("console=tty0 quiet", ("rootdelay=300 is missing", "console=ttyS0 is missing", "quiet is present")),
        ("rootdelay=10 console=ttyS0", ("rootdelay=10 should be rootdelay=300",)),
        ("rootdelay=300 rootdelay=300 console=ttyS0", ("rootdelay= is given 2 times",)),
        ("rootdelay=300 console=ttyS0 console=tty0", ("consoles are not in the order console=ttyS0",)),
        ("rootdelay=300 console=ttyS0,1 console=ttyS0", ("console=ttyS0 is given 2 times",)),
        ("rootdelay=300 console=tty0 console=ttyS0,115200n8", ()),
    ],
)
def test_missing_says_what_is_wrong(cmdline: str, words: tuple[str, ...]) -> None:
    assert kernel_args.missing(cmdline, ["rootdelay=300", "console=ttyS0"], ["quiet"]) == words


@pytest.mark.parametrize(
    ("add", "remove"),
    [
        (["quiet"], ["quiet"]),
        (["a-b=1"], ["a_b=1"]),
        (["a=1", "a=2"], []),
        (["console=ttyS0", "console=ttyS0,115200"], []),
        ([""], []),
        (["a b"], []),
        (["--"], []),
        (['a="b'], []),
    ],
)
def test_requests_that_contradict_themselves_are_refused(add: list[str], remove: list[str]) -> None:
    with pytest.raises(ValueError, match=r"added|not one"):
        kernel_args.edit("ro", add=add, remove=remove)


ARGS = (
    "quiet",
    "ro",
    "console=tty0",
    "console=ttyS0",
    "console=ttyS0,9600",
    "root=/dev/sda1",
    "--",
    "rd.lvm.lv=a/b",
)
ADD = st.lists(
    st.sampled_from(("ro", "console=ttyS0", "console=tty1", "root=UUID=1", "rd.lvm.lv=c/d", "a_b=1"))
)
REMOVE = st.lists(st.sampled_from(("quiet", "console=*", "root=*", "rd.lvm*", "*b", "[a-r]o", "[")))


@given(texts(*ARGS, *(f" {arg}" for arg in ARGS), max_size=8), ADD, REMOVE)
def test_edit_is_idempotent_and_agrees_with_missing(cmdline: str, add: list[str], remove: list[str]) -> None:
    new = or_refused(lambda: kernel_args.edit(cmdline, add=add, remove=remove))
    if new is None:
        return
    assert kernel_args.edit(new, add=add, remove=remove) == new
    assert kernel_args.missing(new, add, remove) == ()
    assert (kernel_args.missing(cmdline, add, remove) == ()) == (new == cmdline)


@given(texts(*(f" {arg}" for arg in ARGS)))
def test_what_is_not_asked_for_stays(cmdline: str) -> None:
    new = or_refused(lambda: kernel_args.edit(cmdline, add=["net.ifnames=0"], remove=["quiet"]))
    if new is None:
        return
    before = [arg for arg in kernel_args.split(cmdline) if arg not in ("quiet", '"quiet"', '"quiet')]
    after = [arg for arg in kernel_args.split(new) if arg != "net.ifnames=0"]
    if "--" not in before:
        assert after == before


@given(texts('"', " "))
def test_split_leaves_only_white_space_out(cmdline: str) -> None:
    args = or_refused(lambda: kernel_args.split(cmdline))
    if args is not None:
        squeezed = str.maketrans("", "", " \t\n\v\f\r")
        assert "".join(args).translate(squeezed) == cmdline.translate(squeezed)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a modprobe.blacklist=udf b", "a b"),
        ("modprobe.blacklist=udf", ""),
        ("modprobe.blacklist=udf  quiet", "quiet"),
        ("a rd.driver.blacklist=floppy,udf,hv-netvsc,x", "a rd.driver.blacklist=floppy,x"),
        ('"module_blacklist=udf,floppy" a', "module_blacklist=floppy a"),
        ('module-blacklist="udf" a', "a"),
        ("rdblacklist=udf blacklist=udf module_blacklist=udf a", "a"),
        ("modprobe.blacklist=udfs,floppy udf", "modprobe.blacklist=udfs,floppy udf"),
        ("modprobe.blacklist= x", "modprobe.blacklist= x"),
        ("modprobe.blacklist x", "modprobe.blacklist x"),
        ("initcall_blacklist=udf", "initcall_blacklist=udf"),
        ("a -- modprobe.blacklist=udf", "a -- modprobe.blacklist=udf"),
        ("modprobe.blacklist=udf -- single", "-- single"),
    ],
)
def test_unblacklisted(line: str, expected: str) -> None:
    modules = ("udf", "hv_netvsc")
    assert kernel_args.unblacklisted(line, modules) == expected
    assert bool(kernel_args.blacklisted(line, modules)) is (line != expected)
    assert kernel_args.blacklisted(expected, modules) == ()


@given(texts("modprobe.blacklist=", "udf", ",", "module_blacklist=", " -- ", "a "))
def test_unblacklisted_is_idempotent_and_leaves_the_rest(line: str) -> None:
    new = or_refused(lambda: kernel_args.unblacklisted(line, ["udf"]))
    if new is None:
        return
    assert kernel_args.blacklisted(new, ["udf"]) == ()
    assert kernel_args.unblacklisted(new, ["udf"]) == new
    others = [arg for arg in kernel_args.split(line) if arg.partition("=")[0].strip('"') not in _LISTS]
    assert [arg for arg in kernel_args.split(new) if arg.partition("=")[0] not in _LISTS] == others


_LISTS = {spelled for name in kernel_args.BLACKLISTS for spelled in (name, name.replace("_", "-"))}
