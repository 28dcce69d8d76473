"""imgfix apply, as its own log: open, inspect, plan, apply, verify, emit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from imgfix import installer, package_folder, sandbox
from imgfix.appliance import GuestfsError
from imgfix.apply import apply
from imgfix.diary import Diary, Reproduction
from imgfix.disk.digest import Digest
from imgfix.disk.fault import HEADROOM, require_space
from imgfix.disk.finished import require_finished_file
from imgfix.disk.identity import footer_identity
from imgfix.disk.inplace import InPlace
from imgfix.disk.keep import keep
from imgfix.disk.partition import PartitionTable, read_partitions
from imgfix.disk.size import require_larger
from imgfix.disk.source import Source, announce, open_source, reader
from imgfix.disk.vhd import fixed_footer
from imgfix.disk.workcopy import WorkCopy
from imgfix.errors import ApplyError, CommandError, HostError, ImgfixError, UsageError
from imgfix.facts.distro import read_distro
from imgfix.facts.model import Facts
from imgfix.host_chroot import HostChroot
from imgfix.interrupt import Interrupts
from imgfix.keys import Key
from imgfix.package_folder import PackageFolder
from imgfix.plan import Plan, build_plan, on_host
from imgfix.profile import Profile
from imgfix.progress import Progress
from imgfix.rehearsal import outcome
from imgfix.rehearsal.gate import rehearse_work_copy, require_passed
from imgfix.rehearsal.rehearse import Result
from imgfix.scratch import Scratch
from imgfix.session import Session, opened
from imgfix.steps import STEPS
from imgfix.steps.packages import Packages
from imgfix.suits import Auto, choose, require_usable, size_warnings
from imgfix.verify import require_settled

#: What the output's name drops of the source's: `web.example.com` is a name, `web.raw` a name and a format.
_IMAGE_SUFFIXES = frozenset(
    {".raw", ".img", ".vhd", ".dd", ".bin", ".disk", ".vhdx", ".qcow2", ".vmdk", ".vdi", ".ova"}
)


@dataclass(frozen=True, slots=True)
class Request:
    """One call of `imgfix apply`. `output` None means DISK with the suffix .vhd.

    `image_format` is one of formats.NAMES where the bytes of DISK do not tell; `packages` a folder of .deb or
    .rpm files: where it is given, no repository is asked. With `in_place` the disk itself becomes the output.
    `keep_failed` keeps the work copy of an apply that fails, beside the output. `size` is what the disk is to have, in
    bytes, whole MiB; `grow_root` lets the root take the space behind it. `host_chroot` has the guest's
    initramfs generator run on this host: the user's own decision, and in no profile.
    """

    profile: Profile | Auto
    disk: Path
    output: Path | None = None
    force: bool = False
    network: bool = True
    keys: tuple[Key, ...] = ()
    packages: Path | None = None
    image_format: str | None = None
    in_place: bool = False
    keep_failed: bool = False
    rehearse: bool = False
    size: int | None = None
    grow_root: bool = False
    host_chroot: bool = False

    @property
    def target(self) -> Path:
        """The file that will be written."""
        name = self.disk.stem if self.disk.suffix in _IMAGE_SUFFIXES else self.disk.name
        target = self.output or self.disk.with_name(f"{name}.vhd")
        if self.output is None and target == self.disk and not self.in_place:
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
    rehearsal: Result | None = None


def run(request: Request, progress: Progress, interrupts: Interrupts, diary: Diary | None = None) -> Report:
    """Make the request's disk ready for Azure. Raises ImgfixError; then there is no output and no trace.

    `diary` gets what becomes known on the way, also of an apply that fails.
    """
    diary = diary or Diary()
    diary.target = request.target
    if request.keep_failed and request.in_place:
        raise UsageError(
            f"{request.disk}: a change in place has no copy of its own that could be kept",
            hint="leave out --keep-failed or --in-place",
        )
    if request.host_chroot:
        sandbox.require()
    folder = package_folder.read(request.packages) if request.packages is not None else None
    source = diary.source = open_source(request.disk, request.image_format)
    announce(source, progress.say)
    if request.size is not None:
        require_larger(str(request.disk), source.size, request.size)
    warnings = diary.warnings = size_warnings(source, request.profile, request.size or 0)
    with ExitStack() as stack:
        digest = stack.enter_context(Digest(source.path)) if diary.detailed else None
        with progress.phase("copy"):
            work = _work(source, request, progress)
            stack.enter_context(work)
        if request.keep_failed and isinstance(work, WorkCopy):
            stack.enter_context(_kept_if_it_fails(work, diary, progress))
        diary.size = work.size
        job = _Job(request, source, work, folder, progress, interrupts, diary)
        profile, facts, plan = job.mutate()
        rehearsal = None
        if request.rehearse and isinstance(work, WorkCopy):
            rehearsal = rehearse_work_copy(work.path, request.target, profile, progress, interrupts)
            diary.rehearsal = outcome.model(rehearsal)
            require_passed(rehearsal)
        with progress.phase("emit"):
            identity = footer_identity(source, os.environ)
            if digest is not None:
                diary.source_sha256 = digest.result()  # before the disk changes, if that is in place
            footer = fixed_footer(work.size, timestamp=identity.timestamp, unique_id=identity.unique_id)
            if isinstance(work, WorkCopy):  # in place there is no file yet, but an overlay
                require_finished_file(work.path, work.size, footer)
            work.publish(footer)
        diary.published, diary.table = True, _table(request.target, work.size)
        if digest is not None:
            with progress.phase("digest"), Digest(request.target) as other:
                diary.output_sha256 = other.result()
    return Report(request, profile, facts, plan, work.size, warnings, job.launches, rehearsal)


def _work(source: Source, request: Request, progress: Progress) -> WorkCopy | InPlace:
    least = request.size or 0
    if request.in_place:
        return InPlace.create(source, request.target, force=request.force, least=least)
    return WorkCopy.create(source, request.target, force=request.force, progress=progress.copied, least=least)


@contextmanager
def _kept_if_it_fails(work: WorkCopy | InPlace, diary: Diary, progress: Progress) -> Iterator[None]:
    """Give the work copy of a failed apply a second name, which stays when the first one goes."""
    try:
        yield
    except ImgfixError:
        try:
            diary.kept = keep(work.path, work.output)
        except HostError as refused:
            progress.say(f"the work copy is not kept: {refused.message}")
        else:
            progress.say(f"the work copy is kept, a raw image: {diary.kept}")
        raise


def _table(output: Path, size: int) -> PartitionTable:
    """Return the partition table of the finished disk of `size` bytes."""
    with output.open("rb") as stream:
        return read_partitions(reader(stream.fileno(), size), size)


class _Job:
    """The part of an apply that needs an appliance."""

    def __init__(
        self,
        request: Request,
        source: Source,
        work: WorkCopy | InPlace,
        folder: PackageFolder | None,
        progress: Progress,
        interrupts: Interrupts,
        diary: Diary,
    ) -> None:
        self._request = request
        self._diary = diary
        self._source = source
        self._work = work
        self._folder = folder
        self._packages = Packages(folder.offer if folder is not None else None)
        self._progress = progress
        self._interrupts = interrupts
        self.launches = 0
        self._scratch: Scratch | None = None

    def mutate(self) -> tuple[Profile, Facts, Plan]:
        """Return the profile that was chosen, the guest's facts and what was done to it."""
        with self._session(network=False) as session:
            profile = self._diary.profile = self._choose(session)
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
        self._diary.items = first.items
        self._grow(session, last=False)  # packages may need the space
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
        self._diary.launches = self.launches
        # What is said of the accelerator holds for the second launch too.
        say = self._progress.say if self.launches == 1 else lambda _: None
        with ExitStack() as stack:
            self._scratch = stack.enter_context(Scratch()) if self._request.host_chroot else None
            with self._progress.phase("launch"):
                session = stack.enter_context(
                    opened(
                        self._work.path,
                        self._source.table,
                        name=self._source.path,
                        writable=True,
                        image_format=self._work.image_format,
                        network=network,
                        keys=self._request.keys,
                        interrupts=self._interrupts,
                        say=say,
                        scratch=self._scratch.drive if self._scratch else None,
                    )
                )
            self._diary.accelerator = "TCG" if session.emulated else "KVM"
            session.guest.ran = self._progress.ran
            if self._progress.verbose:
                session.guest.heard = self._progress.output
            try:
                yield session
            except (ImgfixError, GuestfsError) as error:
                # What the appliance could not write shows as anything in the guest, from EIO to a damaged journal.
                require_space("the guest's changes", self._work.path.parent, needed=HEADROOM)
                if isinstance(error, CommandError):
                    self._diary.reproduction = Reproduction(
                        error.command, session.places, session.opened, network
                    )
                if self._request.keep_failed:
                    session.leave_in_order()
                raise

    def _choose(self, session: Session) -> Profile:
        distro = read_distro(session.guest)
        profile = choose(self._request.profile, distro)
        if isinstance(self._request.profile, Auto):
            self._progress.say(f"this is {distro.pretty_name}: profile {profile.name}")
        return profile

    def _inspect(self, session: Session, profile: Profile) -> Facts:
        with self._progress.phase("inspect"):
            facts = session.facts(profile.drivers)
            self._diary.saw(facts)
            require_usable(facts.storage)
        return facts

    def _settle(self, session: Session, profile: Profile, facts: Facts, first: Plan) -> Plan:
        """Plan everything but packages, carry it out, and prove it."""
        native = self._request.host_chroot
        profile = profile.for_appliance(emulated=session.emulated, on_host=native)
        with self._progress.phase("plan"):
            plan = build_plan(STEPS, profile, facts, session.guest, before=first.items)
            plan = on_host(plan) if native else plan
            self._diary.items = first.items
            self._diary.planned(plan, session.guest)
        self._grow(session, last=not plan.swap_devices)
        if plan.changes:
            with self._progress.phase("apply"):
                session.make_writable()
                self._carry_out(plan, session)
                session.delete_swap(plan.swap_devices)
                if plan.swap_devices:
                    self._grow(session, last=True)
        with self._progress.phase("verify"):
            if plan.changes:
                facts = session.facts(profile.drivers)
                self._diary.saw(facts)
                self._diary.changed(session.guest)
                require_settled(build_plan((self._packages, *STEPS), profile, facts, session.guest))
            session.close_clean()
        return Plan((*first.items, *plan.items))

    def _grow(self, session: Session, *, last: bool) -> None:
        if self._request.grow_root:
            with self._progress.phase("grow"):
                session.grow_root(last=last)

    def _carry_out(self, plan: Plan, session: Session) -> None:
        host = None
        if self._scratch is not None:
            kernels = [rebuild.kernel for rebuild in plan.rebuilds if rebuild.on_host]
            host = HostChroot(
                session.guest,
                self._scratch,
                kernels,
                session.storage,
                self._interrupts,
                self._progress.ran,
            )
        apply(plan, session.guest, self._progress.say, host)

    def _refuse_offline(self, plan: Plan) -> None:
        if self._request.network:
            return
        installer.refuse_offline(plan.installs)
