from __future__ import annotations

import pytest
from hypothesis import given

from imgfix.textedit import bls, kernel_args

from .garbage import or_refused, texts

EL8 = """\
title Red Hat Enterprise Linux (4.18.0-553.el8_10.x86_64) 8.10 (Ootpa)
version 4.18.0-553.el8_10.x86_64
linux /vmlinuz-4.18.0-553.el8_10.x86_64
initrd /initramfs-4.18.0-553.el8_10.x86_64.img $tuned_initrd
options $kernelopts $tuned_params
id rhel-20240513091201-4.18.0-553.el8_10.x86_64
grub_users $grub_users
grub_arg --unrestricted
grub_class kernel
"""
EL9 = EL8.replace(
    "$kernelopts $tuned_params", "root=/dev/mapper/rhel-root ro crashkernel=auto rhgb quiet $tuned_params"
)


def edit(cmdline: str) -> str:
    return kernel_args.edit(cmdline, add=["console=ttyS0"], remove=["quiet"])


def test_get() -> None:
    assert bls.get(EL8, "version") == "4.18.0-553.el8_10.x86_64"
    assert bls.get(EL8, "devicetree") is None
    assert bls.options(EL8) == "$kernelopts $tuned_params"
    assert bls.options("") == ""
    assert bls.get("\tlinux \t /vmlinuz  \r\n", "linux") == "/vmlinuz"
    assert bls.get("# linux /x\nlinux\n", "linux") is None


@pytest.mark.parametrize(
    ("linux", "does"),
    [
        ("/vmlinuz-6.1.0-18-amd64", True),
        ("/boot/vmlinuz-6.1.0-18-amd64", True),
        ("/4c7a/6.1.0-18-amd64/linux", True),
        ("/opensuse/6.1.0-18-amd64/linux-1a2b", True),
        ("/vmlinuz-6.1.0-18-amd64.old", False),
        ("/vmlinuz-26.1.0-18-amd64", False),
        ("/vmlinuz-6x1.0-18-amd64", False),
        ("/vmlinuz", False),
    ],
)
def test_boots(linux: str, does: bool) -> None:
    assert bls.boots(f"title x\nlinux {linux}\n", "6.1.0-18-amd64") is does
    assert not bls.boots(f"title {linux}\n", "6.1.0-18-amd64")


def test_real_entries_change_in_their_options_only() -> None:
    assert bls.map_options(EL8, edit) == EL8.replace("$tuned_params", "$tuned_params console=ttyS0")
    assert bls.map_options(EL9, edit) == EL9.replace("quiet $tuned_params", "$tuned_params console=ttyS0")
    assert bls.map_options(EL8, lambda old: old) is EL8


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("options  a quiet \r\ntitle x\r\n", "options  a console=ttyS0 \r\ntitle x\r\n"),
        ("options a\nlinux /v\noptions quiet b", "options a b console=ttyS0\nlinux /v\n"),
        ("linux /v\n\n# end\n", "linux /v\noptions console=ttyS0\n\n# end\n"),
        ("linux /v", "linux /v\noptions console=ttyS0\n"),
        ("\toptions\ta", "\toptions\ta console=ttyS0"),
    ],
)
def test_map_options(before: str, after: str) -> None:
    assert bls.map_options(before, edit) == after
    assert bls.map_options(after, edit) == after


def test_an_empty_line_of_options_goes() -> None:
    assert bls.map_options("options quiet\nlinux /v\n", lambda _: "") == "linux /v\n"
    with pytest.raises(ValueError, match="one line"):
        bls.map_options("options a\n", lambda _: "a\nlinux /evil")


@given(texts("options ", "options", "linux /v", "quiet", "$kernelopts"))
def test_garbage_keeps_its_other_lines(text: str) -> None:
    def add(old: str) -> str:
        return old if "zz" in old.split(" ") else f"{old} zz".strip(" ")

    new = or_refused(lambda: bls.map_options(text, add))
    if new is None:
        assert "\r" in bls.options(text)
        return
    assert "zz" in bls.options(new)
    assert bls.map_options(new, add) == new
    for key in ("linux", "title", "a"):
        # A CR at the very end becomes part of the line end; GRUB reads neither.
        assert (bls.get(new, key) or "").rstrip("\r") == (bls.get(text, key) or "").rstrip("\r")


@given(texts("options ", " quiet", "a"))
def test_kernel_arguments_of_garbage_are_edited_or_refused(text: str) -> None:
    new = or_refused(lambda: bls.map_options(text, edit))
    if new is not None:
        assert bls.map_options(new, edit) == new
