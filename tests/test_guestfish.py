"""The line that repeats a command of the guest, as the shell takes it apart."""

from __future__ import annotations

import shlex
from pathlib import Path

from imgfix.guestfish import ENVIRONMENT, Place, line

ARGV = ("sh", "-c", "echo 'a  b' \"$x\"")
PLACES = (Place("/dev/rhel/root", "/"), Place("/dev/sda1", "/home", ("subvol=@home", "ro")))


def test_on_a_copy_that_may_be_written() -> None:
    made = line(Path("/w/a b.raw"), PLACES, ARGV, backing=None, network=False, emulated=True)
    words = shlex.split(made)
    assert words[:3] == ["LIBGUESTFS_BACKEND=direct", "LIBGUESTFS_BACKEND_SETTINGS=force_tcg", "guestfish"]
    assert words[3:7] == ["--rw", "--format=raw", "-a", "/w/a b.raw"]
    assert words[7:11] == ["-m", "/dev/rhel/root:/", "-m", "/dev/sda1:/home:subvol=@home,ro"]
    assert words[11] == "sh"
    assert tuple(shlex.split(words[12])[-3:]) == ARGV
    assert f"env -i {shlex.join(ENVIRONMENT)} sh -c" in words[12]


def test_the_source_is_never_opened_for_writing() -> None:
    made = line(Path("/w/d.raw"), PLACES, ARGV, backing="vmdk", network=True, emulated=False)
    first, then = made.split(" && ", 1)
    words = shlex.split(first)
    assert words[:2] == ["qemu-img", "create"]
    assert words[words.index("-F") + 1] == "vmdk"
    assert "/w/d.raw" in first
    assert "/w/d.raw" not in then
    assert "--format=qcow2 -a d.raw.overlay.qcow2 --network" in then


def test_an_encrypted_volume_is_opened_first() -> None:
    made = line(
        Path("/d.raw"),
        PLACES,
        ARGV,
        backing=None,
        network=False,
        emulated=True,
        opened=(("/dev/sda3", "luks"),),
    )
    assert "run : cryptsetup-open /dev/sda3 luks : vg-activate-all true : mount-options" in made
