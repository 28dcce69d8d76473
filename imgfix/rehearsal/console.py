"""The serial console: what its lines prove of the boot, and where a boot has come to an end. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from imgfix.rehearsal.events import Stage

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x1b[()][0-9A-Za-z]|\x1b[=>78Mc]|\r")
#: Of more than this a line is no line: a guest may write what it likes.
_LONGEST = 4000


@dataclass(frozen=True, slots=True)
class Mark:
    """A line that proves a stage."""

    stage: Stage
    pattern: re.Pattern[str]
    says: str


def _mark(stage: Stage, pattern: str, says: str) -> Mark:
    return Mark(stage, re.compile(pattern), says)


#: In the order of a boot. OVMF writes BdsDxe lines, GRUB its menu or banner, the rest is the kernel's and init's.
MARKS = (
    _mark(
        Stage.FIRMWARE,
        r"BdsDxe: (loading|starting) Boot|UEFI Interactive Shell",
        "the firmware starts a loader",
    ),
    _mark(
        Stage.BOOT_LOADER,
        r"GNU GRUB|Welcome to GRUB|GRUB loading|Booting `|error: .*(grub|file .* not found)|systemd-boot|SYSLINUX|"
        r"grub rescue>|grub>",
        "the boot loader runs",
    ),
    _mark(Stage.KERNEL, r"\bLinux version \d", "the kernel starts"),
    _mark(
        Stage.INITRAMFS,
        r"Run /init as init process|Loading, please wait|Begin: |dracut(-\w+)?(\[\d+\])?: |"
        r"Running in initr(d|amfs)|Running in initial RAM disk|initrd\.target",
        "the initramfs runs",
    ),
    _mark(
        Stage.ROOT,
        r"Switching root|Begin: Running /scripts/init-bottom|Switch Root|"
        r"(EXT[234]-fs|XFS|BTRFS).*(mounted filesystem|Ending clean mount|Mounting V\d Filesystem|first mount)",
        "the root file system is found",
    ),
    _mark(
        Stage.INIT,
        r"systemd\[1\]: .*running in system mode|Set hostname to|Reached target .*(Local File Systems|System Init)|"
        r"INIT: version|Welcome to (?!GRUB)\S",
        "init runs",
    ),
)
#: What comes later may stand behind it on its line: the agent's messages with their time, or the kernel's.
LOGIN = re.compile(r"^\S+ login: *($|\d{4}-\d\d-\d\dT|\[ *\d+\.\d)", re.MULTILINE)
_IN_INITRAMFS = re.compile(r"Running in initr(d|amfs)|Running in initial RAM disk")


def plain(data: bytes) -> str:
    """Return console text without escape sequences and carriage returns."""
    return _ANSI.sub("", data.decode(errors="replace"))


class Follower:
    """Reads the console piece by piece and tells each stage once, and a login prompt."""

    def __init__(self) -> None:
        self._rest = b""
        self._seen: set[Stage] = set()
        self.text = ""
        self.login = False

    def feed(self, data: bytes) -> Iterator[tuple[Stage, str]]:
        """Take more of the console; yield the stages that it proves, with the line that does."""
        whole, newline, self._rest = (self._rest + data).rpartition(b"\n")
        if len(self._rest) > _LONGEST:
            whole, newline, self._rest = whole + newline + self._rest, b"\n", b""
        for line in plain(whole + newline).splitlines():
            self.text += line + "\n"
            yield from self._stages(line)
        # A prompt has no newline behind it.
        self.login = self.login or bool(LOGIN.search(self.tail))

    @property
    def tail(self) -> str:
        """The last of the console, an unfinished line too."""
        return self.text[-2000:] + plain(self._rest)

    @property
    def whole(self) -> str:
        """All of the console so far."""
        return self.text + plain(self._rest)

    def _stages(self, line: str) -> Iterator[tuple[Stage, str]]:
        for mark in MARKS:
            if mark.stage in self._seen or not mark.pattern.search(line):
                continue
            if mark.stage is Stage.INIT and not self._may_be_init(line):
                continue
            self._seen.add(mark.stage)
            yield mark.stage, mark.says

    def _may_be_init(self, line: str) -> bool:
        """In an initramfs systemd says that it runs in system mode, too, before the root is there."""
        return Stage.ROOT in self._seen and not _IN_INITRAMFS.search(line)


def proofs(console: str) -> dict[int, Stage]:
    """Return the lines, numbered from 0, that prove a stage of the boot."""
    follower = Follower()
    return {
        number: stage
        for number, line in enumerate(console.splitlines())
        for stage, _ in follower.feed(f"{line}\n".encode())
    }
