"""A rehearsal's outcome as data: what `imgfix rehearse --report FILE.json` writes."""

from __future__ import annotations

from typing import Literal

from imgfix.reports.part import Part, Text

VERSION: Literal[1] = 1


class Moment(Part):
    """Something that happened; `at` is seconds from power-on."""

    at: float
    boot: int
    kind: str
    stage: str | None
    text: str


class Finding(Part):
    """One answer; `ok` null is worth a look."""

    name: str
    ok: bool | None
    detail: str
    remedy: str


class Why(Part):
    """Where and why a boot failed; `line` is what was seen."""

    name: str
    stage: str
    text: str
    remedy: str
    profile_key: str
    line: str


class Try(Part):
    """One boot, or two, on one controller."""

    controller: str
    reached: str | None
    arrived: bool
    cause: Why | None
    events: tuple[Moment, ...]
    answers: tuple[Finding, ...]
    serial_log: str
    second_serial_log: str


class RehearsalReport(Part):
    """The whole outcome; the last of `attempts` counts."""

    format: Literal["imgfix-rehearsal"] = "imgfix-rehearsal"
    version: Literal[1]
    disk: Text
    generation: int
    accelerator: str
    passed: bool
    attempts: tuple[Try, ...]
