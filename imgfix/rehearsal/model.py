"""A rehearsal's outcome as data: what `imgfix rehearse --report FILE.json` writes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

VERSION = 1


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Moment(_Model):
    """Something that happened; `at` is seconds from power-on."""

    at: float
    boot: int
    kind: str
    stage: str | None
    text: str


class Finding(_Model):
    """One answer; `ok` null is worth a look."""

    name: str
    ok: bool | None
    detail: str
    remedy: str


class Why(_Model):
    """Where and why a boot failed; `line` is what was seen."""

    name: str
    stage: str
    text: str
    remedy: str
    profile_key: str
    line: str


class Try(_Model):
    """One boot, or two, on one controller."""

    controller: str
    reached: str | None
    arrived: bool
    cause: Why | None
    events: tuple[Moment, ...]
    answers: tuple[Finding, ...]
    serial_log: str
    second_serial_log: str


class RehearsalReport(_Model):
    """The whole outcome; the last of `attempts` counts."""

    version: int
    disk: str
    generation: int
    accelerator: str
    passed: bool
    attempts: tuple[Try, ...]
