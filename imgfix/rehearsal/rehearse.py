"""imgfix rehearse: boot a throw-away overlay of a VHD on a simulated Azure, and say how far it comes, and why."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from imgfix import accel
from imgfix.accel import Accelerator, Verdict
from imgfix.disk.overlay import overlay
from imgfix.disk.source import Source, open_source
from imgfix.errors import HostError, UsageError
from imgfix.interrupt import Interrupts
from imgfix.progress import Progress
from imgfix.rehearsal import credentials, questions, udf
from imgfix.rehearsal.diagnosis import Cause, Evidence, diagnose, silence
from imgfix.rehearsal.events import Event, Kind, Stage
from imgfix.rehearsal.guestlogs import GuestLogs, read_logs
from imgfix.rehearsal.identity import Identity
from imgfix.rehearsal.machine import CONTROLLERS, Controller, Hardware, firmware_files
from imgfix.rehearsal.questions import Answer, Expected
from imgfix.rehearsal.spec import Agent, Spec
from imgfix.rehearsal.ssh import make_key

#: What the OS disk is made larger by, in bytes: Azure's users do, and then the guest's growing shows.
_GROWTH = 1 << 30
#: As the smallest temporary disks of Azure; sparse.
_RESOURCE_DISK = 4 << 30
#: Seconds for the rehearsal's process to end by itself.
_LEAVE = 20.0
#: Seconds for a BIOS to say that it finds nothing to boot.
_NO_BOOT_CODE = 20.0
#: Causes that another controller may not have: a driver that the initramfs lacks. A root named /dev/vda would come up
#: on virtio-blk, and not on Azure.
_MAY_BE_DRIVER = frozenset(
    {"root not found", "volume group not found", "dracut emergency", "initramfs shell", "waiting for root"}
)

Generation = Literal["auto", "1", "2"]


@dataclass(frozen=True, slots=True)
class Request:
    """One call of `imgfix rehearse`. `agent` None: whichever reports first; `timeout` in seconds, from power-on to SSH;
    `quiet` in seconds without a sign of progress behind a login prompt.

    `target` is what the disk will be called, if it is not yet. `provisioned` False: a specialized image, which `user`
    may log in to with the private `key`.
    """

    disk: Path
    generation: Generation = "auto"
    agent: Agent | None = None
    provisioned: bool = True
    timeout: float = 600.0
    quiet: float = 120.0
    twice: bool = False
    kernel_update: bool = False
    controller: Controller | None = None
    user: str | None = None
    key: Path | None = None
    swap_on_resource_disk: bool | None = None
    image_format: str | None = None
    target: Path | None = None

    @property
    def name(self) -> Path:
        """What people know the disk by."""
        return self.target or self.disk


@dataclass(frozen=True, slots=True)
class Attempt:
    """One boot on one controller, or two of them: its events, what the console said, and the verdict."""

    controller: Controller
    events: tuple[Event, ...]
    console: str
    second_console: str
    answers: tuple[Answer, ...]
    reached: Stage | None
    arrived: bool
    cause: Cause | None

    def seconds(self, stage: Stage, boot: int = 1) -> float | None:
        """Return when a stage was first seen, in seconds from power-on."""
        return next((e.at for e in self.events if e.stage is stage and e.boot == boot), None)


@dataclass(frozen=True, slots=True)
class Result:
    """What a rehearsal found; the last attempt is the one that counts."""

    request: Request
    generation: Literal[1, 2]
    verdict: Verdict
    attempts: tuple[Attempt, ...]

    @property
    def attempt(self) -> Attempt:
        """The attempt that counts."""
        return self.attempts[-1]

    @property
    def passed(self) -> bool:
        """Tell whether the image would do: it came to SSH, shut down, and no answer is a no."""
        return self.attempt.arrived and all(answer.ok is not False for answer in self.attempt.answers)


def rehearse(request: Request, progress: Progress, interrupts: Interrupts) -> Result:
    """Boot the request's disk, which is not changed. Raises ImgfixError where nothing could be tried."""
    source = open_source(request.disk, request.image_format)
    generation = _generation(request, source)
    if generation == 2:
        firmware_files()
    verdict = accel.choose()
    attempts: list[Attempt] = []
    for controller in (request.controller,) if request.controller else CONTROLLERS:
        with progress.phase("rehearse"):
            job = _Job(request, source, generation, verdict.accelerator, progress, interrupts)
            attempts.append(job.run(controller))
        if attempts[-1].arrived or not _may_be_driver(attempts[-1]):
            break
        progress.say(f"the root is not found on {controller}")
    if not attempts[-1].arrived:
        # What the first one shows is what the user's own machine showed.
        attempts = [*attempts[1:], attempts[0]]
    return Result(request, generation, verdict, tuple(attempts))


def _generation(request: Request, source: Source) -> Literal[1, 2]:
    """A disk that both start is rehearsed as Generation 1 unless the other is asked for."""
    if request.generation != "auto":
        return 1 if request.generation == "1" else 2
    return 1 if source.table.bios.possible else 2


def _may_be_driver(attempt: Attempt) -> bool:
    return attempt.cause is not None and attempt.cause.name in _MAY_BE_DRIVER


class _Job:
    """One attempt: its folder, overlay and process; all gone when `run` returns or raises."""

    def __init__(
        self,
        request: Request,
        source: Source,
        generation: Literal[1, 2],
        accelerator: Accelerator,
        progress: Progress,
        interrupts: Interrupts,
    ) -> None:
        self._request = request
        self._source = source
        self._generation = generation
        self._accelerator = accelerator
        self._progress = progress
        self._interrupts = interrupts
        self._done = False

    def run(self, controller: Controller) -> Attempt:
        """Boot on `controller`; raises HostError where the host cannot."""
        with ExitStack() as stack:
            disk = stack.enter_context(overlay(self._source, _GROWTH))
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="imgfix-rehearsal-")))
            spec = self._spec(controller, disk, folder)
            events = list(self._follow(spec, folder))
            return self._conclude(spec, events)

    @property
    def _lacks_boot_code(self) -> bool:
        """A BIOS runs the zeros of such a boot sector, and says nothing."""
        return self._generation == 1 and not self._source.table.has_boot_code

    def _spec(self, controller: Controller, disk: Path, folder: Path) -> Spec:
        request = self._request
        key = make_key(folder)
        identity = Identity(key.with_suffix(".pub").read_text().strip())
        dvd = resource = None
        if request.provisioned:
            dvd = folder / "provisioning.iso"
            dvd.write_bytes(udf.image({"ovf-env.xml": identity.ovf_environment().encode()}, "rd_rdfe_stable"))
            resource = folder / "resource.raw"
            with resource.open("wb") as stream:
                stream.truncate(_RESOURCE_DISK)
        hardware = Hardware(
            folder=folder,
            overlay=disk,
            dvd=dvd,
            resource_disk=resource,
            generation=self._generation,
            controller=controller,
            accelerator=self._accelerator,
            credentials=credentials.credentials(
                emulated=self._accelerator is Accelerator.TCG, resource_disk=resource is not None
            ),
        )
        user = identity.user if request.provisioned else request.user
        return Spec(
            identity=identity,
            hardware=hardware,
            key=key if request.provisioned or request.key is None else request.key.absolute(),
            user=user,
            agent=request.agent,
            provisioned=request.provisioned,
            timeout=min(request.timeout, _NO_BOOT_CODE) if self._lacks_boot_code else request.timeout,
            quiet=request.quiet,
            twice=request.twice,
            kernel_update=request.kernel_update,
        )

    def _follow(self, spec: Spec, folder: Path) -> Iterator[Event]:
        """Run the rehearsal's process and yield what it tells."""
        argv = (sys.executable, "-m", "imgfix.rehearsal.inside")
        with (folder / "inside.log").open("w+") as log:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # Ctrl-C is the parent's business: it then closes the child's standard input.
                start_new_session=True,
            )
            try:
                with self._interrupts.ending(process.terminate):
                    yield from self._events(process, spec)
            finally:
                _end(process)
            if not self._done:
                log.seek(0)
                said = log.read().strip()[-2000:] or "it said nothing"
                raise HostError(
                    f"the rehearsal's own process ended early: {said}", hint="end other programs, try again"
                )

    def _events(self, process: subprocess.Popen[str], spec: Spec) -> Iterator[Event]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(spec.to_json() + "\n")
        process.stdin.flush()
        for line in process.stdout:
            data = json.loads(line)
            if "error" in data:
                raise HostError(data["error"], hint=data["hint"])
            if "done" in data:
                self._done = True
                return
            stage = None if data["stage"] is None else Stage(data["stage"])
            event = Event(data["at"], Kind(data["kind"]), data["text"], stage, data["boot"])
            self._tell(event)
            yield event

    def _tell(self, event: Event) -> None:
        if event.kind not in (Kind.ANSWERS, Kind.IMDS, Kind.WIRESERVER) and event.text:
            self._progress.say(f"{event.at:6.1f} s  {event.text}")

    def _conclude(self, spec: Spec, events: list[Event]) -> Attempt:
        last = max((event.boot for event in events), default=1)
        first = _console(spec, 1)
        reached = max((e.stage for e in events if e.stage is not None and e.boot == last), default=None)
        arrived = any(e.kind is Kind.SSH and e.boot == last for e in events)
        cause = None
        if not arrived:
            logs = self._logs(spec, reached)
            evidence = _evidence(spec, events, reached, logs, last)
            if self._lacks_boot_code:
                evidence = replace(evidence, firmware=f"{evidence.firmware}\nno boot code on the disk\n")
            cause = diagnose(evidence)
        answers = tuple(_answers(self._request, spec, events)) if arrived else ()
        second = _console(spec, 2) if last > 1 else ""
        return Attempt(
            spec.hardware.controller, tuple(events), first, second, answers, reached, arrived, cause
        )

    def _logs(self, spec: Spec, reached: Stage | None) -> GuestLogs:
        """Read the guest's own logs where it may have written some."""
        if reached is None or reached < Stage.ROOT:
            return GuestLogs()
        with self._progress.phase("inspect"):
            return read_logs(spec.hardware.overlay, self._source, self._interrupts, self._progress.say)


def _end(process: subprocess.Popen[str]) -> None:
    """Close its standard input, by which it ends with all that it started; raises nothing."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(_LEAVE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def _console(spec: Spec, boot: int) -> str:
    path = spec.hardware.folder / f"console-{boot}.log"
    return path.read_text(errors="replace") if path.exists() else ""


def _evidence(spec: Spec, events: list[Event], reached: Stage | None, logs: GuestLogs, boot: int) -> Evidence:
    firmware = spec.hardware.firmware_log
    mine = [event for event in events if event.boot == boot]
    return Evidence(
        reached=reached,
        console=_console(spec, boot),
        firmware=firmware.read_text(errors="replace") if firmware.exists() else "",
        logs=logs.text,
        ssh="\n".join(event.text for event in mine if event.kind in (Kind.HOST, Kind.TIMEOUT)),
        reports="\n".join((*(e.text for e in mine if e.kind is Kind.FAILED), *silence(mine))),
        present=logs.present,
        login=any(event.kind is Kind.LOGIN for event in mine),
    )


def _answers(request: Request, spec: Spec, events: list[Event]) -> Iterator[Answer]:
    """Judge what the guest answered, and how it went off."""
    said = [(event.boot, questions.parse(event.text)) for event in events if event.kind is Kind.ANSWERS]
    asked = [(boot, answers) for boot, answers in said if "update" not in answers]
    reporters = [event.text.split(" ")[0] for event in events if event.kind is Kind.READY]
    agent = request.agent or (reporters[0] if reporters else None)
    expected = Expected(
        identity=spec.identity,
        agent=agent,
        provisioned=request.provisioned,
        grown=True,
        resource_disk=spec.hardware.resource_disk is not None,
        swap_on_resource_disk=request.swap_on_resource_disk,
        emulated=spec.hardware.accelerator is Accelerator.TCG,
    )
    if asked:
        yield from questions.judge(asked[0][1], expected)
    for _, answers in said:
        if "update" in answers:
            yield from questions.judge_update(answers["update"])
    if len(asked) > 1:
        yield from questions.kept(asked[0][1], asked[-1][1])
    yield questions.serial_console(
        kernel=any(event.stage is Stage.KERNEL for event in events),
        login=any(event.kind is Kind.LOGIN for event in events),
    )
    for event in events:
        if event.kind is Kind.OFF:
            is_clean = event.text == "clean"
            yield Answer(
                "shutdown" if event.boot == 1 else "second shutdown",
                True if is_clean else None,
                "the guest shuts down by the power button" if is_clean else event.text,
                "" if is_clean else "is acpid or systemd-logind there?",
            )


def check(request: Request) -> None:
    """Raise UsageError for a request that contradicts itself."""
    if request.key is not None and request.user is None:
        raise UsageError("--key names a key and no --user is to log in with it", hint="add --user NAME")
    if request.provisioned and request.user is not None:
        raise UsageError(
            "--user is for an image that nobody provisions: else the rehearsal's own user logs in",
            hint="add --agent disabled, or drop --user",
        )
    if request.user is not None and request.key is None:
        raise UsageError("--user needs the private key that may log in", hint="add --key FILE")
