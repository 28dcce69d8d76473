"""fsck: is a file system sound? Asked before the first change and after the last one, of what is not mounted."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from imgfix.appliance import Appliance
from imgfix.errors import ImageError, VerifyError
from imgfix.facts.model import Filesystem


@dataclass(frozen=True, slots=True)
class Checker:
    """How a file system is checked without changing it; exit status 0 is clean.

    `mend` is what takes away the traces of an unclean shutdown, and nothing else; `%s` stands for the device. It is
    run where every line that the check says is `harmless`.
    """

    check: tuple[str, ...]
    mend: str = ""
    harmless: str = ".*"


# A mount for writing deletes files that were open and had no name any more when a snapshot was taken: a frozen file
# system has a clean journal and still lists them. e2fsck -p would do more, and drop damaged files without a word.
_EXT = Checker(
    ("e2fsck", "-f", "-n"),
    "mkdir -p /tmp/mended && mount %s /tmp/mended && umount /tmp/mended",
)

# The mark stands in the boot sector, which then differs from its backup in that byte (37 for FAT12 and 16).
_VFAT = Checker(
    ("fsck.vfat", "-n"),
    "fsck.vfat -a %s",
    harmless=r"|fsck\.fat .*|.*: \d+ files, \d+/\d+ clusters|Leaving filesystem unchanged\."
    r"|Dirty bit is set\. .*|\s*Automatically removing dirty bit\."
    r"|There are differences between boot sector and its backup\."
    r"|This is mostly harmless\. .*|\s*(37|65):01/00|\s*Not automatically fixing this\."
    r"|Free cluster summary (wrong|uninitialized) .*|\s*Auto-(correct|sett)ing\.",
)

CHECKERS: dict[str, Checker] = {
    "ext2": _EXT,
    "ext3": _EXT,
    "ext4": _EXT,
    "xfs": Checker(("xfs_repair", "-n")),
    "vfat": _VFAT,
    "btrfs": Checker(("btrfs", "check", "--readonly")),
}

# udev looks at a device that was just unmounted, and a checker that opens it exclusively then fails; a file
# system that is not clean stays so.
_CHECK = """
for attempt in 1 2 3; do
  udevadm settle --timeout=30
  output=$(%s 2>&1)
  status=$?
  [ $status = 0 ] && break
  sleep 2
done
echo "$output"
exit $status
"""


def require_sound(appliance: Appliance, filesystem: Filesystem) -> bool:
    """Refuse, before anything was changed, a file system that is damaged, with the checker's own output.

    What an unclean shutdown left is mended; then True is returned. Raises ImageError.
    """
    checker = CHECKERS[filesystem.fstype]
    output = _complaint(appliance, checker, filesystem.device)
    if output is None:
        return False
    if checker.mend and all(re.fullmatch(checker.harmless, line) for line in output.split("\n")):
        device = shlex.quote(filesystem.device)
        appliance.shell(f"blockdev --setrw {device}; {checker.mend % device}")
        output = _complaint(appliance, checker, filesystem.device)
        if output is None:
            return True
    raise ImageError(
        f"{filesystem.device} ({filesystem.fstype}) is damaged; nothing has been changed yet. "
        f"{_command(checker.check, filesystem.device)} says:\n{output}",
        hint="repair it in the virtual machine, by fsck from a rescue system, and export the disk again",
    )


def require_clean(appliance: Appliance, filesystem: Filesystem) -> None:
    """Raise VerifyError for a file system that is not clean after the changes, with the checker's own output."""
    checker = CHECKERS[filesystem.fstype]
    output = _complaint(appliance, checker, filesystem.device)
    if output is not None:
        raise VerifyError(
            f"{filesystem.device} ({filesystem.fstype}) is not clean after the changes; "
            f"{_command(checker.check, filesystem.device)} says:\n{output}",
            hint="it was clean before them; nothing was published. This is a defect: please report it",
        )


def _complaint(appliance: Appliance, checker: Checker, device: str) -> str | None:
    status, output = appliance.shell(_CHECK % _command(checker.check, device))
    return output.strip() if status else None


def _command(argv: tuple[str, ...], device: str) -> str:
    return shlex.join((*argv, device))
