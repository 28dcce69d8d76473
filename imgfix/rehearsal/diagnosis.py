"""Why a boot did not get further: a table of what guests print, each row with its cause, remedy and profile key. Pure.

A row counts only where the boot has come as far as it says: `[FAILED]` of a unit is no cause for a boot that stopped in
GRUB, and an old error in the log is none for one that reached SSH. The first row that counts is the verdict.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from imgfix.rehearsal.events import Event, Kind, Stage
from imgfix.rehearsal.symptom import Symptom, Where
from imgfix.rehearsal.symptoms import SYMPTOMS


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a boot that failed. `reached` None: nothing at all was seen of it.

    `console`, `firmware` and `ssh` (what the SSH client said last) are of the host's side; `logs` are files of the
    guest, `present` is which of the files that disable something it has.
    """

    reached: Stage | None
    console: str = ""
    firmware: str = ""
    logs: str = ""
    ssh: str = ""
    reports: str = ""
    present: frozenset[str] = frozenset()
    login: bool = False


@dataclass(frozen=True, slots=True)
class Cause:
    """The verdict's why. `stage` is where it failed, `line` what was seen, `key` the profile's part of the remedy."""

    name: str
    stage: Stage
    text: str
    remedy: str
    key: str = ""
    line: str = ""
    others: tuple[str, ...] = field(default=())


def diagnose(evidence: Evidence) -> Cause:
    """Return the likely cause; where no row of the table matches, one that says so."""
    stage = failed_stage(evidence.reached)
    found = [
        (symptom, match)
        for symptom in SYMPTOMS
        if symptom.first <= _rank(evidence.reached) <= symptom.last
        for match in [_match(symptom, evidence)]
        if match is not None
    ]
    if not found:
        return Cause(
            "unknown",
            stage,
            "nothing in the console or the logs matches a known cause",
            "look at the end of the serial log, and compare with a boot that works",
            line=_last_line(evidence.console),
        )
    symptom, match = found[0]
    groups = {name: text or "" for name, text in match.groupdict().items()}
    return Cause(
        symptom.name,
        symptom.stage if symptom.stage is not None else stage,
        symptom.cause.format(**groups),
        symptom.remedy,
        symptom.key,
        _line_of(match),
        tuple(other.name for other, _ in found[1:4]),
    )


def dead_end(console: str, firmware: str = "", *, provisioned: bool = True) -> str | None:
    """Return the name of the row that says the boot will never get further, or None.

    What an image that nobody provisions lacks for that is no dead end.
    """
    for symptom in SYMPTOMS:
        if not provisioned and symptom.stage in (Stage.DATASOURCE, Stage.PROVISIONING):
            continue
        text = {Where.CONSOLE: console, Where.FIRMWARE: firmware}.get(symptom.where)
        if symptom.final and text and symptom.pattern.search(text):
            return symptom.name
    return None


def silence(events: Sequence[Event]) -> Iterator[str]:
    """Say so where only cloud-init's own DHCP, which comes before its report, was ever heard of in a boot."""
    ready = [e.at for e in events if e.kind is Kind.READY and e.text.startswith("cloud-init ")]
    if ready and not any(e.kind is Kind.DHCP and e.at > ready[0] for e in events):
        yield "the guest asked for no address after cloud-init had reported Ready"


def failed_stage(reached: Stage | None) -> Stage:
    """Return the stage that was not reached."""
    return Stage(min(_rank(reached) + 1, Stage.SSH))


def marked_lines(console: str) -> tuple[int, ...]:
    """Return the numbers, from 0, of the lines that some row of the table knows."""
    rows = [symptom.pattern for symptom in SYMPTOMS if symptom.where is Where.CONSOLE and not symptom.absent]
    return tuple(
        number
        for number, line in enumerate(console.splitlines())
        if any((found := pattern.search(line)) and found.group() for pattern in rows)
    )


def _rank(reached: Stage | None) -> int:
    return -1 if reached is None else int(reached)


def _match(symptom: Symptom, evidence: Evidence) -> re.Match[str] | None:
    """A row for what is absent matches where its pattern does not; it then stands for the whole text."""
    texts = {
        Where.CONSOLE: evidence.console,
        Where.FIRMWARE: evidence.firmware,
        Where.LOGS: evidence.logs,
        Where.SSH: evidence.ssh,
        Where.REPORTS: evidence.reports,
        Where.FILES: "\n".join(sorted(evidence.present)),
    }
    text = texts[symptom.where]
    if symptom.needs_login and not evidence.login:
        return None
    if not symptom.absent:
        return symptom.pattern.search(text)
    return None if symptom.pattern.search(text) else re.match("", text)


def _line_of(match: re.Match[str]) -> str:
    if not match.group():
        return ""
    text = match.string
    start = text.rfind("\n", 0, match.start()) + 1
    end = text.find("\n", match.end())
    lines = text[start : end if end >= 0 else len(text)].splitlines()
    return lines[0].strip()[:300] if lines else ""


def _last_line(console: str) -> str:
    lines = [line for line in console.splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else ""
