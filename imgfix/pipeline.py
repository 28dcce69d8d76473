"""imgfix apply, as its own log: open, inspect, plan, apply, verify, emit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from imgfix import installer, package_folder
from imgfix.apply import apply
from imgfix.disk.identity import footer_identity
from imgfix.disk.source import Source, open_source
from imgfix.disk.vhd import fixed_footer
from imgfix.disk.workcopy import WorkCopy
from imgfix.errors import ApplyError, UsageError
from imgfix.facts.distro import read_distro
from imgfix.facts.model import Facts
from imgfix.interrupt import Interrupts
from imgfix.keys import Key
from imgfix.package_folder import PackageFolder
from imgfix.plan import Plan, build_plan
from imgfix.profile import Profile
from imgfix.progress import Progress
from imgfix.session import Session, opened
from imgfix.steps import STEPS
from imgfix.steps.packages import Packages
from imgfix.suits import Auto, choose, require_usable, size_warnings
from imgfix.verify import require_settled

#: What the output's name drops of the source's: `web.example.com` is a name, `web.raw` a name and a format.
_IMAGE_SUFFIXES = frozenset({".raw", ".img", ".vhd", ".dd", ".bin", ".disk"})


@dataclass(frozen=True, slots=True)
class Request:
    """One call of `imgfix apply`. `output` None means DISK with the suffix .vhd.

    `packages` is a folder of .deb or .rpm files: where it is given, no repository is asked.
    """

    profile: Profile | Auto
    disk: Path
    output: Path | None = None
    force: bool = False
    network: bool = True
    keys: tuple[Key, ...] = ()
    packages: Path | None = None

    @property
    def target(self) -> Path:
        """The file that will be written."""
        name = self.disk.stem if self.disk.suffix in _IMAGE_SUFFIXES else self.disk.name
        target = self.output or self.disk.with_name(f"{name}.vhd")
        if self.output is None and target == self.disk:
            raise UsageError(
                f"{self.disk}: the output would be the source itself, which imgfix never writes",
                hint=f"name another output: -o {self.disk.with_name(self.disk.stem + '-azure.vhd')}",
            )
        return target


@dataclass(frozen=True, slots=True)
class Report:
    """What an apply did. `size` in bytes is the virtual size; `launches` counts appliances."""

    request: Request
    profile: Profile
    facts: Facts
    plan: Plan
    size: int
    warnings: tuple[str, ...]
    launches: int


def run(request: Request, progress: Progress, interrupts: Interrupts) -> Report:
    """Make the request's disk ready for Azure. Raises ImgfixError; then there is no output and no trace."""
    folder = package_folder.read(request.packages) if request.packages is not None else None
    source = open_source(request.disk)
    warnings = size_warnings(source, request.profile)
    with ExitStack() as stack:
        with progress.phase("copy"):
            copying = WorkCopy.create(source, request.target, force=request.force, progress=progress.copied)
            work = stack.enter_context(copying)
        job = _Job(request, source, work, folder, progress, interrupts)
        profile, facts, plan = job.mutate()
        with progress.phase("emit"):
            identity = footer_identity(source, os.environ)
            work.publish(fixed_footer(work.size, timestamp=identity.timestamp, unique_id=identity.unique_id))
    return Report(request, profile, facts, plan, work.size, warnings, job.launches)


class _Job:
    """The part of an apply that needs an appliance."""

    def __init__(
        self,
        request: Request,
        source: Source,
        work: WorkCopy,
        folder: PackageFolder | None,
        progress: Progress,
        interrupts: Interrupts,
    ) -> None:
        self._request = request
        self._source = source
        self._work = work
        self._folder = folder
        self._packages = Packages(folder.offer if folder is not None else None)
        self._progress = progress
        self._interrupts = interrupts
        self.launches = 0

    def mutate(self) -> tuple[Profile, Facts, Plan]:
        """Return the profile that was chosen, the guest's facts and what was done to it."""
        with self._session(network=False) as session:
            profile = self._choose(session)
            facts = self._inspect(session, profile)
            first = build_plan([self._packages], profile, facts, session.guest)
            if not first.installs or self._folder is not None:
                facts = self._change_packages(session, profile, first) if first.changes else facts
                return profile, facts, self._settle(session, profile, facts, first)
        self._refuse_offline(first)
        with self._session(network=True) as session:
            facts = self._change_packages(session, profile, first)
            return profile, facts, self._settle(session, profile, facts, first)

    def _change_packages(self, session: Session, profile: Profile, first: Plan) -> Facts:
        """Remove and install packages, and return the facts as they are then."""
        with self._progress.phase("packages"):
            session.make_writable()
            for removal in first.removals:
                installer.remove(removal, session.guest, self._progress.say)
            for decision in first.installs:
                paths = self._folder.paths if self._folder is not None else {}
                installer.install(decision, session.guest, paths, self._progress.say)
            if first.installs and self._folder is None:
                session.cut_network()
        facts = self._inspect(session, profile)
        self._require_installed(profile, facts, session)
        return facts

    def _require_installed(self, profile: Profile, facts: Facts, session: Session) -> None:
        """Raise ApplyError where the repositories had only older versions than are wanted."""
        again = build_plan([self._packages], profile, facts, session.guest)
        left = [name for decision in again.installs for name in decision.packages]
        if left:
            raise ApplyError(
                f"packages are still missing or too old after they were installed: {', '.join(left)}",
                hint="the guest's repositories have no newer ones: give them in a folder with --packages, or ask for "
                "less in packages.add",
            )

    @contextmanager
    def _session(self, *, network: bool) -> Iterator[Session]:
        """Launch an appliance on the work copy."""
        self.launches += 1
        # What is said of the accelerator holds for the second launch too.
        say = self._progress.say if self.launches == 1 else lambda _: None
        with ExitStack() as stack:
            with self._progress.phase("launch"):
                session = stack.enter_context(
                    opened(
                        self._work.path,
                        self._source.table,
                        writable=True,
                        network=network,
                        keys=self._request.keys,
                        interrupts=self._interrupts,
                        say=say,
                    )
                )
            yield session

    def _choose(self, session: Session) -> Profile:
        distro = read_distro(session.guest)
        profile = choose(self._request.profile, distro)
        if isinstance(self._request.profile, Auto):
            self._progress.say(f"this is {distro.pretty_name}: profile {profile.name}")
        return profile

    def _inspect(self, session: Session, profile: Profile) -> Facts:
        with self._progress.phase("inspect"):
            facts = session.facts(profile.drivers)
            require_usable(facts.storage)
        return facts

    def _settle(self, session: Session, profile: Profile, facts: Facts, first: Plan) -> Plan:
        """Plan everything but packages, carry it out, and prove it."""
        profile = profile.for_appliance(emulated=session.emulated)
        with self._progress.phase("plan"):
            plan = build_plan(STEPS, profile, facts, session.guest, before=first.items)
        if plan.changes:
            with self._progress.phase("apply"):
                session.make_writable()
                apply(plan, session.guest, self._progress.say)
                session.delete_swap(plan.swap_devices)
            with self._progress.phase("verify"):
                again = build_plan(
                    (self._packages, *STEPS), profile, session.facts(profile.drivers), session.guest
                )
                require_settled(again)
        with self._progress.phase("verify"):
            session.close_clean()
        return Plan((*first.items, *plan.items))

    def _refuse_offline(self, plan: Plan) -> None:
        if self._request.network:
            return
        names = ", ".join(name for decision in plan.installs for name in decision.packages)
        raise ApplyError(
            f"packages are missing in the guest and --no-network forbids fetching them: {names}",
            hint="install them in the guest, give them in a folder with --packages, allow the network, or go on "
            "without: --set packages.missing=warn",
        )
