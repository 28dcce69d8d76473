"""What an apply would do to a disk, without doing it: the same facts, steps and plan, over a throw-away overlay."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from imgfix import package_folder, sandbox
from imgfix.difference import Difference, differences
from imgfix.disk.finished import Fault, faults, size_faults
from imgfix.disk.overlay import overlay
from imgfix.disk.source import Source, announce, open_regular, open_source, reader
from imgfix.disk.vhd import FOOTER_SIZE
from imgfix.errors import GuestError, ImageError, ImgfixError
from imgfix.facts.distro import read_distro
from imgfix.facts.model import Facts
from imgfix.interrupt import Interrupts
from imgfix.keys import Key
from imgfix.plan import Item, Plan, Refusal, on_host, survey
from imgfix.profile import Profile
from imgfix.progress import Progress
from imgfix.session import Session, opened
from imgfix.steps import STEPS
from imgfix.steps.packages import Packages
from imgfix.suits import Auto, choose, require_usable, size_warnings


@dataclass(frozen=True, slots=True)
class Wish:
    """What to look at, and by which profile; `packages` is the folder of --packages, `image_format` one of
    formats.NAMES where the bytes of `disk` do not tell.

    `all_checked` has every file system checked, and not only those that were not cleanly unmounted; `host_chroot` is
    that of an apply's Request.
    """

    profile: Profile | Auto
    disk: Path
    keys: tuple[Key, ...] = ()
    packages: Path | None = None
    image_format: str | None = None
    all_checked: bool = False
    host_chroot: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is in the way, and the requirement that it is about."""

    requirement: str
    error: ImgfixError


@dataclass(frozen=True, slots=True)
class Preview:
    """What was found, and what an apply would do.

    `refusals` are steps that cannot plan: an apply stops at the first. `pending` are those that cannot plan yet,
    because packages are missing that the plan installs. `troubles` are what is in the way outside the steps: size,
    hibernation, damaged file systems. `faults` are what is not yet right with the image file.
    """

    source: Source
    profile: Profile
    facts: Facts
    plan: Plan
    differences: tuple[Difference, ...]
    refusals: tuple[Refusal, ...]
    pending: tuple[Refusal, ...]
    warnings: tuple[str, ...]
    troubles: tuple[Trouble, ...]
    faults: tuple[Fault, ...]

    def require_possible(self) -> None:
        """Raise what an apply would raise, if anything."""
        for error in (*(t.error for t in self.troubles), *(refusal.error for refusal in self.refusals)):
            raise error


def preview(wish: Wish, progress: Progress, interrupts: Interrupts) -> Preview:
    """Look at the wished disk; it is opened read-only. Raises ImgfixError where there is nothing to plan for."""
    if wish.host_chroot:
        sandbox.require()
    folder = package_folder.read(wish.packages) if wish.packages is not None else None
    packages = Packages(folder.offer if folder is not None else None)
    source = open_source(wish.disk, wish.image_format)
    announce(source, progress.say)
    troubles: list[Trouble] = []
    warnings: tuple[str, ...] = ()
    try:
        warnings = size_warnings(source, wish.profile)
    except ImageError as error:
        troubles.append(Trouble("R4", error))
    with _session(source, wish, progress, interrupts) as session:
        with progress.phase("inspect"):
            profile = choose(wish.profile, read_distro(session.guest))
            if isinstance(wish.profile, Auto):
                progress.say(f"this is {read_distro(session.guest).pretty_name}: profile {profile.name}")
            profile = profile.for_appliance(emulated=session.emulated, on_host=wish.host_chroot)
            facts = session.facts(profile.drivers)
        with progress.phase("plan"):
            plan, refusals, pending = _plan(profile, facts, packages, session)
            plan = on_host(plan) if wish.host_chroot else plan
            changed = differences(plan, session.guest)
        with progress.phase("verify"):
            troubles += _troubles(session, facts, all_checked=wish.all_checked)
    return Preview(
        source,
        profile,
        facts,
        plan,
        changed,
        refusals,
        pending,
        warnings,
        tuple(troubles),
        _disk_faults(source),
    )


def _disk_faults(source: Source) -> tuple[Fault, ...]:
    """Ask the file itself what Azure would not take of it; of an image of another format its size is known."""
    if source.image is not None:
        return (Fault("R1", f"it is a {source.format.value}, no fixed VHD"), *size_faults(source.size))
    fd = open_regular(source.path)
    try:
        footer = os.pread(fd, FOOTER_SIZE, source.size) if source.footer is not None else None
        return faults(reader(fd, source.size), source.size, footer)
    finally:
        os.close(fd)


@contextmanager
def _session(source: Source, wish: Wish, progress: Progress, interrupts: Interrupts) -> Iterator[Session]:
    with ExitStack() as stack:
        above = stack.enter_context(overlay(source))
        with progress.phase("launch"):
            session = stack.enter_context(
                opened(
                    above,
                    source.table,
                    name=source.path,
                    writable=True,
                    image_format="qcow2",
                    keys=wish.keys,
                    interrupts=interrupts,
                    say=progress.say,
                )
            )
        yield session


def _plan(
    profile: Profile, facts: Facts, packages: Packages, session: Session
) -> tuple[Plan, tuple[Refusal, ...], tuple[Refusal, ...]]:
    """Plan as apply does; return also the steps that refuse, and those that will not when packages are installed."""
    first, refused = survey([packages], profile, facts, session.guest)
    rest, refusals = survey(STEPS, profile, facts, session.guest, before=first.items)
    pending: tuple[Refusal, ...] = ()
    if first.installs and refusals:
        lenient = profile.model_copy(
            update={"packages": profile.packages.model_copy(update={"missing": "warn"})}
        )
        then, still = survey(STEPS, lenient, facts, session.guest, before=first.items)
        blocked = {refusal.step for refusal in still}
        pending = tuple(r for r in refusals if r.step not in blocked)
        refusals = tuple(r for r in refusals if r.step in blocked)
        rest = Plan(tuple(_without_new_advice(then, rest, {r.step for r in pending})))
    return Plan((*first.items, *rest.items)), (*refused, *refusals), pending


def _without_new_advice(then: Plan, strict: Plan, pending: set[str]) -> Iterator[Item]:
    """What the lenient profile only advises of, the real one waits for: it is told as pending."""
    known = set(strict.advice)
    advice = set(then.advice)
    return (item for item in then.items if item.step not in pending or item not in advice or item in known)


def _troubles(session: Session, facts: Facts, *, all_checked: bool) -> Iterator[Trouble]:
    try:
        require_usable(facts.storage)
    except GuestError as error:
        yield Trouble("storage", error)
    try:
        session.close_clean(all_checked=all_checked)
    except ImageError as error:
        yield Trouble("storage", error)
