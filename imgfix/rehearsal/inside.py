"""The rehearsal's own process: in its namespaces it runs Azure's servers and the machine, and tells what happens.

    python -m imgfix.rehearsal.inside <SPEC.json

One JSON object a line on stdout is an event. It ends when its standard input is closed, and everything in its PID
namespace ends with it: whatever happens to the parent, no guest is left.
"""

from __future__ import annotations

import json
import queue
import re
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from imgfix.accel import Accelerator
from imgfix.errors import HostError
from imgfix.rehearsal import namespace, questions
from imgfix.rehearsal.console import LOGIN, Follower
from imgfix.rehearsal.diagnosis import dead_end
from imgfix.rehearsal.events import STAGE_OF, Event, Kind, Stage
from imgfix.rehearsal.identity import IMDS, WIRESERVER
from imgfix.rehearsal.machine import Hardware, Machine, command_line
from imgfix.rehearsal.servers import Servers
from imgfix.rehearsal.spec import Spec
from imgfix.rehearsal.ssh import PORT, Login
from imgfix.rehearsal.wire import Names, Wire

_TICK = 0.25
#: What the Azure Linux Agent repeats for half an hour where cloud-init does not do its part.
_NO_NEWS = re.compile(rb"Waiting for cloud-init|cloud-init is enabled: ")
#: Seconds behind a dead end, after which nothing more is awaited.
_LAST_WORDS = 6.0
#: Seconds from Ready to a login by SSH, between two tries, for the generator, and for a shutdown.
_SSH_LIMIT, _SSH_PAUSE, _UPDATE_LIMIT, _OFF_LIMIT = 300.0, 3.0, 1800.0, 300.0
#: Seconds between two looks at the screen; and what stands there only if the boot loader has stopped.
_LOOK_PAUSE = 10.0
#: Characters at the end of the console in which a dead end is looked for.
_LOOKED_AT = 8000
_IS_LOADERS = re.compile(
    r"grub rescue>|^grub> ?$|^error: |No bootable device|Missing operating system", re.MULTILINE
)
#: So often an agent says that it starts to provision, and is not done, before it is given up.
_TOO_OFTEN = 4
#: Seconds for a guest that let the user in to let him in again.
_ASK_LIMIT = 120.0


class _Told:
    """What the boots tell; any thread may."""

    def __init__(self) -> None:
        self.news: queue.Queue[tuple[Kind, str]] = queue.Queue()
        self.start = time.monotonic()
        self.boot = 1
        self._lock = threading.Lock()

    def event(self, kind: Kind, text: str, stage: Stage | None = None) -> None:
        """Write one line for the parent."""
        event = Event(
            round(time.monotonic() - self.start, 2), kind, text, stage or STAGE_OF.get(kind), self.boot
        )
        with self._lock:
            print(json.dumps(asdict(event)), flush=True)

    def from_server(self, kind: Kind, text: str) -> None:
        """Tell what a guest's agent did, and wake the boot that waits for it."""
        self.event(kind, text)
        self.news.put((kind, text))


@dataclass
class _Boot:
    """One boot, from power-on to power-off; `run` returns whether it came to SSH.

    The console is watched by a thread of its own, as a login by SSH may take minutes and the time line shall not.
    """

    spec: Spec
    told: _Told
    machine: Machine
    hardware: Hardware

    def __post_init__(self) -> None:
        self.follower = Follower()
        self.ready = not self.spec.provisioned or self.told.boot > 1
        self.failed = False
        self._has_init = False
        self.ssh_error = ""
        self._at = self.hardware.console.stat().st_size if self.hardware.console.exists() else 0
        self._last = time.monotonic()
        self._ready_at = 0.0
        self._next_try = 0.0
        self._login_told = False
        self._cleared = self._menu_shown = False
        self._begun = 0
        self._shown = ""
        self._next_look = time.monotonic() + _LOOK_PAUSE
        self._dead_at: float | None = None
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._keep_watching, daemon=True)
        self._watcher.start()

    def run(self) -> bool:
        """Wait for Ready and log in. False: it will not come to that, and an event says why."""
        deadline = time.monotonic() + self.spec.timeout
        while True:
            if why := self._end(deadline):
                self.told.event(*why)
                return False
            if self._may_try_ssh() and self._log_in():
                return True
            time.sleep(_TICK)

    def _keep_watching(self) -> None:
        while not self._over.wait(_TICK):
            self._watch()

    def finish(self) -> str:
        """Stop watching; return all that the console said."""
        self._over.set()
        self._watcher.join()
        self._watch()
        if not self.follower.text and _IS_LOADERS.search(self._shown):
            return f"{self.follower.whole}\n[on the screen, not on the serial port:]\n{self._shown}\n"
        return self.follower.whole

    def _watch(self) -> None:
        data = b""
        if self.hardware.console.exists():
            with self.hardware.console.open("rb") as stream:
                stream.seek(self._at)
                data = stream.read(1 << 20)
        if data:
            self._at += len(data)
            self._cleared = True
            if any(line.strip() and not _NO_NEWS.search(line) for line in data.splitlines()):
                self._last = time.monotonic()
            for stage, says in self.follower.feed(data):
                self.told.event(Kind.CONSOLE, says, stage)
                self._has_init = self._has_init or stage is Stage.INIT
                if stage is Stage.BOOT_LOADER and self.hardware.accelerator is Accelerator.TCG:
                    # The menu counts its five seconds in emulated instructions, a minute or more of ours.
                    self.machine.press("ret")
        elif self._menu_hides():
            self._menu_shown = True
            self.machine.press("esc")
        if self.follower.login and not self._login_told:
            self._login_told = True
            self.told.event(Kind.LOGIN, "a login prompt on the console")
        while not self.told.news.empty():
            self._hear(*self.told.news.get())

    def _menu_hides(self) -> bool:
        """Tell whether GRUB has cleared the screen and said nothing since: a hidden menu waits, too."""
        blank = self._cleared and not self.follower.whole.strip()
        emulated = self.hardware.accelerator is Accelerator.TCG
        # OVMF clears the screen, too, and Esc leads into its setup.
        return blank and emulated and self.hardware.generation == 1 and not self._menu_shown

    def _hear(self, kind: Kind, text: str) -> None:
        self._last = time.monotonic() if kind in STAGE_OF else self._last
        self._has_init = True
        wanted = self.spec.agent in (None, text.split(" ", maxsplit=1)[0])
        if kind is Kind.READY and wanted and not self._ready_at:
            self.ready, self._ready_at = True, time.monotonic()
        if kind is Kind.FAILED and wanted:
            self.failed = True
        if kind is Kind.NOT_READY and wanted and not self._ready_at:
            self._begun += 1

    def _end(self, deadline: float) -> tuple[Kind, str] | None:
        now = time.monotonic()
        if not self.machine.runs:
            return Kind.OFF, self.machine.complaint or "the guest powered off or reset by itself"
        if self._dead_at is None and (name := self._dead_end()):
            self._dead_at = now
            self.told.event(Kind.DEAD, name)
        if self._dead_at is not None and now - self._dead_at > _LAST_WORDS:
            return Kind.DEAD, "it will not get further"
        if now > deadline:
            return Kind.TIMEOUT, f"not there after {self.spec.timeout:.0f} s"
        if self.failed:
            return Kind.FAILED, "provisioning failed"
        if self._begun >= _TOO_OFTEN:
            return Kind.FAILED, f"the agent begins again and again: {self._begun} times"
        if self._ready_at and now - self._ready_at > _SSH_LIMIT:
            return Kind.TIMEOUT, f"no login by SSH within {_SSH_LIMIT:.0f} s of Ready: {self.ssh_error}"
        if self._login_told and now - self._last > self.spec.quiet:
            return Kind.TIMEOUT, f"nothing happens for {self.spec.quiet:.0f} s: {self.ssh_error}"
        return None

    def _dead_end(self) -> str | None:
        log = self.hardware.firmware_log
        firmware = log.read_text(errors="replace")[-4000:] if log.exists() else ""
        # An agent may have much to say in emergency mode, too.
        console = self.follower.whole[-_LOOKED_AT:]
        return dead_end(console + self._screen(), firmware, provisioned=self.spec.provisioned)

    def _screen(self) -> str:
        """Look at the screen now and then while the serial port is silent: a boot loader may speak only there."""
        now = time.monotonic()
        if self.follower.text or self.hardware.generation == 2 or now < self._next_look:
            return ""
        self._next_look = now + _LOOK_PAUSE
        shown = self.machine.screen()
        if shown != self._shown:
            self._shown = shown
            return ""  # it still changes
        if LOGIN.search(shown) and not self._login_told:
            self._login_told = True
            self.told.event(Kind.SCREEN, "a login prompt on the screen, and nothing on the serial port")
        return f"\n{shown}\n" if _IS_LOADERS.search(shown) else ""

    # SSH

    def _may_try_ssh(self) -> bool:
        is_up = self.ready and (bool(self._ready_at) or self._login_told)
        return is_up and time.monotonic() > self._next_try

    def _log_in(self) -> bool:
        login = self.login
        if login is None:
            return self._answers_at_all()
        done = login.run("echo in")
        self._next_try = time.monotonic() + _SSH_PAUSE
        if done.returncode == 0:
            self.told.event(Kind.SSH, f"{login.user} is logged in")
            return True
        self.ssh_error = (
            done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"status {done.returncode}"
        )
        return False

    @property
    def has_init(self) -> bool:
        """Tell whether the console or an agent proves that the guest's init runs."""
        return self._has_init or self._login_told

    @property
    def login(self) -> Login | None:
        """Who may log in; None for a specialized image whose users' keys are not given."""
        return Login(self.spec.user, self.spec.key) if self.spec.user else None

    def _answers_at_all(self) -> bool:
        """A refused key is an answer, too: the server runs and has host keys."""
        done = Login("nobody", self.spec.key).run("true")
        self._next_try = time.monotonic() + _SSH_PAUSE
        self.ssh_error = done.stderr.strip()[-200:]
        if done.returncode == 0 or "Permission denied" in done.stderr:
            self.told.event(Kind.SSH, "the SSH server answers; no user and key were given to log in with")
            return True
        return False

    # The way out

    def ask(self, script: str, timeout: float = 300.0) -> None:
        """Run a script in the guest and tell what it printed.

        The server may be away again for a moment: cloud-init restarts it where it has changed its configuration, and
        sshd from 9.8 on refuses for a while who was refused before (PerSourcePenalties in sshd_config(5)).
        """
        if self.login is None:
            return
        deadline = time.monotonic() + _ASK_LIMIT
        while True:
            done = self.login.run(script, timeout)
            if done.returncode != 255 or done.stdout or time.monotonic() > deadline or not self.machine.runs:
                break
            self.told.event(Kind.HOST, f"the SSH server is away again: {done.stderr.strip()[-200:]}")
            time.sleep(_SSH_PAUSE)
        self.told.event(
            Kind.ANSWERS, done.stdout if done.returncode != 255 else f"{done.stdout}\n{done.stderr}"
        )

    def shut_down(self) -> bool:
        """Press the power button and wait for the end; False where the guest does not heed it."""
        self.machine.power_button()
        deadline = time.monotonic() + (_OFF_LIMIT if self.follower.login else 30.0)
        while self.machine.runs and time.monotonic() < deadline:
            time.sleep(_TICK)
        return not self.machine.runs


def _boots(spec: Spec, told: _Told, wire: Wire) -> Iterator[bool]:
    """Boot as often as asked; yield for each boot whether it came to SSH."""
    for number in range(1, 3 if spec.twice else 2):
        told.boot = number
        hardware = spec.hardware if number == 1 else spec.second_hardware
        argv = command_line(hardware, spec.identity, wire.arguments(PORT))
        told.start = time.monotonic()
        with Machine(argv, hardware.folder) as machine:
            told.event(Kind.STARTED, f"Generation {hardware.generation}, {hardware.controller}")
            boot = _Boot(spec, told, machine, hardware)
            arrived = boot.run()
            if arrived:
                boot.ask(questions.script())
                if spec.kernel_update and number == 1:
                    boot.ask(questions.script({"update": questions.KERNEL_UPDATE}), _UPDATE_LIMIT)
            else:
                told.event(Kind.HOST, boot.ssh_error)
            told.event(Kind.OFF, _off(boot, told))
            (hardware.folder / f"console-{number}.log").write_text(boot.finish(), errors="replace")
        yield arrived
        if not arrived:
            return


def _off(boot: _Boot, told: _Told) -> str:
    """Switch the machine off, by its power button where somebody is there to heed it; return how it went."""
    if not boot.has_init:
        return "switched off"
    told.event(Kind.SHUTDOWN, "the power button is pressed")
    return "clean" if boot.shut_down() else "the guest did not shut down"


def _serve(spec: Spec) -> None:
    told = _Told()
    wire = Wire(spec.identity, lambda: told.from_server(Kind.DHCP, "the guest has its address"))
    wire.start()
    Names(spec.identity).start()
    Servers(spec.identity, told.from_server).start()
    for _ in _boots(spec, told, wire):
        pass


def _say(**words: str | None) -> None:
    print(json.dumps(words), flush=True)


def main() -> None:
    """Enter the namespaces; the first process in there does everything."""
    namespace.die_with_parent()
    spec = Spec.from_json(sys.stdin.buffer.readline().decode())
    try:
        if not namespace.enter((WIRESERVER, IMDS)):
            return
        _serve(spec)
        _say(done="yes")
    except HostError as error:
        _say(error=error.message, hint=error.hint)


if __name__ == "__main__":
    main()
