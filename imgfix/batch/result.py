"""The result of one image, as a JSON file that a rerun goes by; every state of it is written atomically."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imgfix.disk.fault import host_errors
from imgfix.errors import ExitCode

VERSION: Literal[1] = 1


class State(str, Enum):
    """What has become of an image. `running` is also what a killed batch leaves behind."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Failure(str, Enum):
    """permanent: the same image and profile fail again. transient: the host's fault, worth another try."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"


def failure_of(exit_code: int) -> Failure:
    """Class an exit code of `imgfix apply`; below 0 is the number of the signal that killed it, as the OOM killer's."""
    host = exit_code < 0 or exit_code in (ExitCode.HOST, ExitCode.INTERRUPTED)
    return Failure.TRANSIENT if host else Failure.PERMANENT


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


Stamp = tuple[int, int, int, int]


class Content(_Model):
    """A disk image: size in bytes, digest of its data (imgfix.batch.digest), and device, inode, mtime, ctime then."""

    size: int
    sha256: str
    stamp: Stamp

    def same_as(self, other: Content) -> bool:
        """Tell whether both have the same bytes."""
        return (self.size, self.sha256) == (other.size, other.sha256)


class Inputs(_Model):
    """All that makes an output: the version of imgfix, the source, sha256 of the profile and of the options."""

    imgfix: str
    source: Content
    profile: str
    options: str

    def same_as(self, other: Inputs) -> bool:
        """Tell whether the output would be the same."""
        mine, theirs = (
            (one.imgfix, one.source.size, one.source.sha256, one.profile, one.options)
            for one in (self, other)
        )
        return mine == theirs


class Attempt(_Model):
    """One `imgfix apply`: when it began (UTC, ISO 8601), its seconds and exit code (below 0: killed by that signal)."""

    began: str
    seconds: float
    exit_code: int
    verdict: str


class Result(_Model):
    """The published format of a result file."""

    format: Literal[1] = VERSION
    index: int
    name: str
    source: str
    output: str
    profile: str
    state: State
    verdict: str = ""
    hint: str | None = None
    exit_code: int | None = None
    failure: Failure | None = None
    attempts: tuple[Attempt, ...] = ()
    inputs: Inputs | None = None
    made: Content | None = Field(None, description="the output, where state is done")
    was_absent: bool = Field(False, description="there was no output when the work on it began")
    host: str = ""

    @property
    def seconds(self) -> float:
        """What its attempts took together."""
        return sum(attempt.seconds for attempt in self.attempts)


def read(path: Path) -> Result | None:
    """Return the result at `path`; None if there is none, or one that is not a result (of this format)."""
    try:
        return Result.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValidationError, UnicodeDecodeError):
        return None


def write(path: Path, result: Result) -> None:
    """Replace the result at `path`; after a crash it is the old one or the new one. Raises HostError."""
    write_text(path, result.model_dump_json(indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a text file of the batch durably and at once. Only one process may write a name at a time."""
    partial = path.with_name(f".{path.name}.partial")
    with host_errors("writing it", path):
        try:
            with partial.open("w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
