"""Every way imgfix fails, and the exit code that tells a calling script which."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """Documented exit codes of every command."""

    DONE = 0
    BUG = 1
    USAGE = 2
    GUEST = 3
    HOST = 4
    APPLY = 5
    NOT_READY = 6
    SOME_FAILED = 7
    INTERRUPTED = 130


class ImgfixError(Exception):
    """Base of all expected failures.

    `message` says what failed, on which file and what it was needed for; `hint` says what to do next.
    """

    exit_code = ExitCode.BUG

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(ImgfixError):
    """The call or the profile is wrong (exit 2)."""

    exit_code = ExitCode.USAGE


class ProfileError(UsageError):
    """A profile cannot be loaded; the message carries file, line, column and YAML path (exit 2)."""


class ImageError(ImgfixError):
    """The disk image is not one imgfix can take: format, damage, no Linux on it (exit 3)."""

    exit_code = ExitCode.GUEST


class GuestError(ImgfixError):
    """The guest's Linux is unsupported, or one of its files cannot be parsed (exit 3)."""

    exit_code = ExitCode.GUEST


class ParseError(GuestError):
    """A text of the guest cannot be parsed and is therefore not rewritten (exit 3).

    `line` is 1-based, or None where no single line is to blame.
    """

    def __init__(self, message: str, *, line: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.line = line


class HostError(ImgfixError):
    """This host cannot do the job: missing tool, no space, no permission, dead appliance (exit 4)."""

    exit_code = ExitCode.HOST


class ApplyError(ImgfixError):
    """A planned change could not be carried out; nothing was published (exit 5)."""

    exit_code = ExitCode.APPLY


@dataclass(frozen=True, slots=True)
class FailedCommand:
    """A command of the guest that failed: its exit status, and the end of stdout and stderr together."""

    argv: tuple[str, ...]
    status: int
    output: str


class CommandError(ApplyError):
    """A command of the guest failed; the message has its output, `command` all of it in parts (exit 5)."""

    def __init__(self, message: str, *, command: FailedCommand, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.command = command


class VerifyError(ImgfixError):
    """The result is not what was planned, or not ready for Azure (exit 6)."""

    exit_code = ExitCode.NOT_READY
