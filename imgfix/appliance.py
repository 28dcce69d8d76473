"""The libguestfs appliance: launched, watched, ended. The only module that imports guestfs."""

from __future__ import annotations

import importlib
import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from imgfix import accel, memory, qmp
from imgfix.accel import Accelerator, Verdict
from imgfix.errors import HostError, ImageError
from imgfix.interrupt import Interrupts
from imgfix.launchdir import LaunchDir

#: MiB of memory that an appliance takes at most.
MEMORY_MIB = memory.WANTED_MIB

#: What the appliance's kernel is told where it is emulated. QEMU before 8 keeps translated code by its virtual
#: address too (tb_lookup in accel/tcg/cpu-exec.c; CF_PCREL came to x86 later), so that with addresses laid out at
#: random it translates libc again for every process. Measured: commands take a third to a fifth of the time.
EMULATED_APPEND = "norandmaps"

#: Seconds that a launch may take. Under KVM it takes 3; under emulation 8 to 40, more on a loaded host.
LAUNCH_TIMEOUT = {Accelerator.KVM: 60.0, Accelerator.TCG: 900.0}

#: Formats that imgfix hands to the appliance: disks, and throw-away overlays of them that it made itself.
ImageFormat = Literal["raw", "qcow2"]

#: An array started for reading only keeps its superblock as it is until something is written to it
#: (https://man7.org/linux/man-pages/man4/md.4.html, md_mod.start_ro).
_KERNEL_ARGUMENTS = "md_mod.start_ro=1"

#: The disk's name in libguestfs' calls. The appliance's kernel probes its disks side by side, so that it may call this
#: one /dev/sdb and its own root /dev/sda: libguestfs translates what its calls are given, and no script
#: (https://libguestfs.org/guestfs.3.html#block-device-naming). There the disk is known by its label.
DISK = "/dev/sda"
LABEL = "guest"
#: The label of a drive that carries much from the appliance to this host: libguestfs' own channel does 20 MB/s.
SCRATCH = "scratch"
_NAMES = re.compile(r"/dev/sd[a-z]+")

#: Text on the appliance's console (https://libguestfs.org/guestfs.3.html#guestfs_event_appliance).
_EVENT_APPLIANCE = 0x0010

#: libguestfs' name of the user-mode network in the direct backend (lib/launch-direct.c).
_NETDEV = "usernet"


class LaunchFailed(HostError):
    """The appliance did not come up; `with_kvm` tells whether emulation is still to be tried."""

    def __init__(self, message: str, *, with_kvm: bool) -> None:
        super().__init__(
            message, hint="run `imgfix doctor`; it tells what this host lacks and how to mend it"
        )
        self.with_kvm = with_kvm


class ApplianceDied(HostError):
    """The appliance ended in the middle of the work."""


@dataclass(frozen=True, slots=True)
class LaunchProbe:
    """What one launch without any guest disk showed."""

    ok: bool
    accelerator: str
    seconds: float
    note: str
    error: str


class Appliance:
    """One launched appliance; a context manager that always ends its QEMU and removes its files."""

    def __init__(self, handle: Any, folder: LaunchDir, interrupts: Interrupts, verdict: Verdict) -> None:
        self._handle = handle
        self._folder = folder.path
        self._interrupts = interrupts
        self.verdict = verdict
        self._disk = ""
        self._stack = ExitStack()
        self._stack.callback(folder.remove)
        self._stack.callback(handle.close)
        self._stack.enter_context(interrupts.ending(self.kill))

    def __enter__(self) -> Appliance:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.kill()  # nothing of it will be used, and a running guest command must not hold us up
        self._stack.close()

    def call(self, verb: str, *args: object, **options: object) -> Any:
        """Call libguestfs' `verb`; raises GuestfsError with its message, ApplianceDied if QEMU is gone."""
        try:
            return getattr(self._handle, verb)(*args, **options)
        except RuntimeError as error:
            if self._interrupts.seen:
                raise KeyboardInterrupt from error
            if not self.alive():
                raise ApplianceDied(
                    f"the appliance ended during {verb}: {error}",
                    hint="was QEMU killed, for example for lack of memory? The source is untouched; run it again",
                ) from error
            raise GuestfsError(verb, str(error)) from error

    def shell(self, script: str) -> tuple[int, str]:
        """Run `script` with the appliance's own shell and tools, not the guest's.

        Returns its exit status, and stdout and stderr together; the disk is /dev/sda in both. Raises GuestfsError
        where it cannot be run at all.
        """
        whole = f"(\n{self._renamed(script)}\n) 2>&1; status=$?; echo; echo status=$status"
        try:
            answer = str(self.call("debug", "sh", [whole]))
        except UnicodeDecodeError as error:
            answer = bytes(error.object).decode("utf-8", "replace")
        output, _, status = answer.rstrip().rpartition("\nstatus=")
        return int(status), self._renamed(output.strip("\n"))

    def _renamed(self, text: str) -> str:
        """Exchange the names that libguestfs and the appliance's kernel have for the disk."""
        if not _NAMES.search(text):
            return text
        self._disk = self._disk or kernel_name(self._handle)
        other = {DISK: self._disk, self._disk: DISK}
        return _NAMES.sub(lambda found: other.get(found[0], found[0]), text)

    @contextmanager
    def console(self, heard: Callable[[str], None] | None) -> Iterator[None]:
        """Give `heard` each line that appears on the appliance's console meanwhile; None hears nothing."""
        if heard is None:
            yield
            return
        rest = ""

        def came(_event: int, _handle: int, text: str, _numbers: object) -> None:
            nonlocal rest
            *lines, rest = (rest + text.replace("\r", "")).split("\n")
            for line in lines:
                heard(line)

        listener = self._handle.set_event_callback(came, _EVENT_APPLIANCE)
        try:
            yield
        finally:
            self._handle.delete_event_callback(listener)

    def cut_network(self) -> None:
        """Unplug the network for the rest of this launch; guest code cannot plug it in again."""
        qmp.cut_link(self._folder / "qmp", _NETDEV)

    def finish(self) -> None:
        """Shut down and report write errors, which closing alone would swallow (guestfs(3), shutdown)."""
        self.call("shutdown")

    def alive(self) -> bool:
        """Tell whether this launch's QEMU still runs."""
        pid = _pid(self._folder)
        return pid is not None and Path(f"/proc/{pid}").exists()

    def kill(self) -> None:
        """End QEMU at once; whatever libguestfs call is waiting for it then fails."""
        _kill(self._folder)


class GuestfsError(Exception):
    """A libguestfs call failed; callers turn it into an error that says what it was needed for."""

    def __init__(self, verb: str, message: str) -> None:
        super().__init__(f"{verb}: {message.removeprefix(verb + ': ')}")
        self.verb = verb


def launch(
    disk: Path | None,
    *,
    writable: bool,
    image_format: ImageFormat = "raw",
    network: bool,
    interrupts: Interrupts,
    say: Callable[[str], None] = lambda _: None,
    scratch: Path | None = None,
) -> Appliance:
    """Launch an appliance with the image `disk`; retried once without KVM where KVM does not work.

    `scratch` is a file that the appliance may write to as the drive SCRATCH. `say` gets a sentence when the accelerator
    is not what one would expect. Raises HostError.
    """
    # It brings asyncio along, which takes a tenth of the time in which a wrong call is answered.
    from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt  # noqa: PLC0415

    verdicts = [accel.choose()]
    if verdicts[0].accelerator is Accelerator.TCG and accel.KVM.exists():
        say(f"running without KVM: {verdicts[0].reason}")

    def without_kvm(_: RetryCallState) -> None:
        verdicts.append(Verdict(Accelerator.TCG, "the appliance does not start under KVM"))
        say(f"running without KVM: {verdicts[-1].reason}")

    drives = [_Drive(disk, image_format, writable)] if disk is not None else []
    drives += [_Drive(scratch, "raw", writable=True, label=SCRATCH)] if scratch is not None else []
    retry = Retrying(
        retry=retry_if_exception_type(_KvmFailed),
        stop=stop_after_attempt(2),
        before_sleep=without_kvm,
        reraise=True,
    )
    running = retry(lambda: _launch_once(drives, network, interrupts, verdicts[-1]))
    if len(verdicts) > 1:  # only now is it KVM's fault: a full disk would have failed both launches
        accel.remember_broken(verdicts[-1].reason)
    return running


class _KvmFailed(LaunchFailed):
    """A launch under KVM failed; emulation may do."""


@dataclass(frozen=True, slots=True)
class _Drive:
    path: Path
    image_format: ImageFormat
    writable: bool
    label: str = LABEL


def _launch_once(
    drives: Sequence[_Drive], network: bool, interrupts: Interrupts, verdict: Verdict
) -> Appliance:
    handle = _handle()  # its import takes a while, and a signal then would leave the folder behind
    own = LaunchDir()
    appliance, folder = Appliance(handle, own, interrupts, verdict), own.path
    launched = threading.Event()
    timeout = LAUNCH_TIMEOUT[verdict.accelerator]
    watchdog = threading.Thread(target=_watch, args=(folder, timeout, launched), daemon=True)
    try:
        _configure(handle, folder, verdict, network)
        for drive in drives:
            handle.add_drive_opts(
                str(drive.path),
                format=drive.image_format,
                readonly=not drive.writable,
                cachemode="unsafe",
                discard="besteffort",
                label=drive.label,
            )
        watchdog.start()
        handle.launch()
        own.note_sockets(_command_line(_pid(folder) or 0))
    except BaseException as error:
        appliance.__exit__(type(error), error, None)
        if interrupts.seen:
            raise KeyboardInterrupt from error
        if not isinstance(error, RuntimeError):
            raise
        failed = _KvmFailed if verdict.accelerator is Accelerator.KVM else LaunchFailed
        raise failed(
            f"the appliance did not start ({verdict.accelerator.value}): {error}",
            with_kvm=failed is _KvmFailed,
        ) from error
    finally:
        launched.set()
    return appliance


def kernel_name(handle: Any, label: str = LABEL) -> str:
    """Return what the kernel of a launched appliance calls the drive that was added with `label`: /dev/sdb, say."""
    name = str(handle.debug("sh", [f"readlink -e /dev/disk/guestfs/{label}"])).strip()
    if not _NAMES.fullmatch(name):
        raise GuestfsError(
            "debug", f"the disk has no name in the appliance: /dev/disk/guestfs/{label} is {name!r}"
        )
    return name


def _watch(folder: Path, timeout: float, launched: threading.Event) -> None:
    """End QEMU if the appliance is not up `timeout` seconds after QEMU began; building it first may take minutes."""
    while not launched.wait(1):
        if _pid(folder) is not None:
            if not launched.wait(timeout):
                _kill(folder)
            return


def _handle() -> Any:
    try:
        module: Any = importlib.import_module("guestfs")
    except ImportError as error:
        raise HostError(
            f"libguestfs' Python bindings cannot be loaded: {error}; they open the disk",
            hint="install python3-guestfs (apt) or python3-libguestfs (dnf), and use the system's Python",
        ) from error
    return module.GuestFS(python_return_dict=True)


def _configure(handle: Any, folder: Path, verdict: Verdict, network: bool) -> None:
    handle.set_tmpdir(str(folder))
    handle.set_backend("direct")  # containers have no libvirtd
    emulated = verdict.accelerator is Accelerator.TCG
    handle.set_backend_settings(["force_tcg"] if emulated else [])
    words = (handle.get_append(), _KERNEL_ARGUMENTS, EMULATED_APPEND if emulated else "")
    handle.set_append(" ".join(filter(None, words)))
    handle.set_memsize(memory.for_appliance())
    # A second emulated CPU costs more in TLB shoot-downs between the two than it brings.
    handle.set_smp(1 if emulated else min(2, os.cpu_count() or 1))
    handle.set_pgroup(True)  # a Ctrl-C in the terminal reaches us, and we end QEMU in good order
    handle.set_network(network)
    # QEMU's own default is to stop the machine until somebody makes room, and nobody here would know
    # (https://www.qemu.org/docs/master/system/invocation.html, werror).
    handle.config("-global", "scsi-hd.werror=report")
    handle.config("-pidfile", str(folder / "pid"))
    if network:
        handle.config("-qmp", f"unix:{folder / 'qmp'},server=on,wait=off")


def _pid(folder: Path) -> int | None:
    try:
        return int((folder / "pid").read_text())
    except (OSError, ValueError):
        return None


def _kill(folder: Path) -> None:
    pid = _pid(folder)
    if pid is not None and str(folder).encode() in _command_line(pid):
        os.kill(pid, signal.SIGKILL)


def _command_line(pid: int) -> bytes:
    """The command line of `pid`: a pid may have been given to another process since."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def probe_launch() -> LaunchProbe:
    """Launch an appliance with no guest disk and say how it went; never raises for a host that cannot."""
    notes: list[str] = []
    begin = time.monotonic()
    try:
        with tempfile.NamedTemporaryFile(prefix="imgfix-probe-") as blank:
            blank.truncate(1 << 20)
            with launch(
                Path(blank.name), writable=False, network=False, interrupts=Interrupts(), say=notes.append
            ) as appliance:
                appliance.finish()
                used = appliance.verdict
    except (HostError, ImageError, GuestfsError) as error:
        return LaunchProbe(False, "", time.monotonic() - begin, "; ".join(notes), str(error))
    return LaunchProbe(True, used.accelerator.value, time.monotonic() - begin, used.reason, "")


def versions() -> dict[str, str]:
    """Return the version of libguestfs; raises HostError if its bindings are missing."""
    version = _handle().version()
    return {"libguestfs": f"{version['major']}.{version['minor']}.{version['release']}{version['extra']}"}
