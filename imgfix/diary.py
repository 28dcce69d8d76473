"""The diary of an apply: what became known of it, in the order in which it did, whether or not it ended well."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from imgfix.disk.partition import PartitionTable
from imgfix.disk.source import Source
from imgfix.errors import FailedCommand, ImgfixError
from imgfix.facts.model import Facts
from imgfix.guestfish import Place
from imgfix.plan import Item, Plan
from imgfix.profile import Profile
from imgfix.recording import FileChange, Readable, Recorder
from imgfix.rehearsal.model import RehearsalReport


@dataclass(frozen=True, slots=True)
class Reproduction:
    """How a failed command of the guest can be run again: where, and with what mounted."""

    command: FailedCommand
    places: tuple[Place, ...]
    opened: tuple[tuple[str, str], ...]
    network: bool


@dataclass(slots=True)
class Diary:
    """Everything that a report can tell. What is None or empty was not reached.

    `detailed` asks for what costs time: the states of changed files, and digests of both disks. `before` are the
    facts of the guest as it came, `after` those of the finished one. `size` in bytes is that of the virtual disk.
    """

    detailed: bool = False
    began: float = field(default_factory=time.time)
    source: Source | None = None
    target: Path | None = None
    profile: Profile | None = None
    before: Facts | None = None
    after: Facts | None = None
    items: tuple[Item, ...] = ()
    files: tuple[FileChange, ...] = ()
    table: PartitionTable | None = None
    size: int | None = None
    launches: int = 0
    accelerator: str = ""
    warnings: tuple[str, ...] = ()
    source_sha256: str | None = None
    output_sha256: str | None = None
    rehearsal: RehearsalReport | None = None
    published: bool = False
    error: ImgfixError | None = None
    failed_in: str | None = None
    reproduction: Reproduction | None = None
    kept: Path | None = None
    _recorder: Recorder | None = None

    def saw(self, facts: Facts) -> None:
        """Take down the facts; the first ones are those of the guest as it came."""
        self.before = self.before or facts
        self.after = facts

    def planned(self, plan: Plan, guest: Readable) -> None:
        """Take down what is to be done, and the files that it is to be done to, before the first change."""
        self.items = (*self.items, *plan.items)
        if self.detailed:
            self._recorder = Recorder(plan)
            self._recorder.look(guest)

    def changed(self, guest: Readable) -> None:
        """Take down what has become of the planned files."""
        if self._recorder is not None:
            self.files = self._recorder.look_again(guest)
