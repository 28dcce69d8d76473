"""Kills imgfix, and separately its QEMU, at the boundaries of an apply, or fills its disk; looks at what is left.

    python -m tests.guests.sweep [--every N] [--part K/N] [--case NAME]...

Each point begins with a fresh disk and an older output that --force replaces. After the kill, the source must be as it
was, or (in place, from the journal on) be completed by the rerun; the output must be the old one, or a complete VHD, or
absent. Then the same command without the kill must succeed, and nothing may be left: no file, process or lock.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from imgfix.disk import fault
from imgfix.disk.finished import faults
from imgfix.disk.source import reader
from imgfix.disk.vhd import FOOTER_SIZE
from tests.disk import eio
from tests.disks import plain
from tests.guests import overfull
from tests.guests.workshop import ROOT, sha256

PROFILE = "name: small\ndescription: what needs no program of the guest\n"
MARK = "IMGFIX_SWEEP"
OLD = b"an older output"
DONE = "disk renamed, complete output"
SMALL = 96 << 20
TIMEOUT = 900.0  # seconds; a launch under emulation on a busy host


@dataclass(frozen=True, slots=True)
class Case:
    """One way to apply, and what befalls it.

    `victim` is imgfix, qemu, space, which a stranger's file takes, a sector of the source that cannot be read, or a
    guest that is as good as full.
    """

    name: str
    victim: str
    options: tuple[str, ...] = ()

    @property
    def in_place(self) -> bool:
        """Tell whether the disk itself becomes the output."""
        return bool(self.options)


CASES = (
    Case("copy", "imgfix"),
    Case("in-place", "imgfix", ("--in-place",)),
    Case("copy-qemu", "qemu"),
    Case("in-place-qemu", "qemu", ("--in-place",)),
    Case("copy-space", "space"),
    Case("in-place-space", "space", ("--in-place",)),
    Case("copy-eio", "sector"),
    Case("in-place-eio", "sector", ("--in-place",)),
    Case("guest-full", "guest"),
)


class Wrong(Exception):
    """A point at which something was not as promised."""


class Bench:
    """A folder with the disk to begin with; each call of imgfix is marked, so that its processes can be found."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.pristine = plain.build(scratch / "plain.raw", scratch)
        self.sha256 = sha256(self.pristine)
        self.profile = scratch / "small.yaml"
        self.profile.write_text(PROFILE)
        self.shim = eio.build(scratch)

    def unmount(self) -> None:
        """Take the small file system away, if there is one."""
        if (self.scratch / "work/disk").is_mount():
            subprocess.run(("umount", self.scratch / "work/disk"), check=True)

    def fresh(self, *, small: bool = False, full: str = "") -> Path:
        """Return a new copy of the disk in a folder of its own, with an older output and a TMPDIR beside it.

        With `small` the folder is a file system of SMALL bytes; `full` is a path of the guest that has no room.
        """
        folder = self.scratch / "work"
        self.unmount()
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "disk").mkdir(parents=True)
        if small:
            mount = ("mount", "-t", "tmpfs", "-o", f"size={SMALL}", "none", folder / "disk")
            subprocess.run(mount, check=True)
        (folder / "tmp").mkdir()
        disk = folder / "disk/d.raw"
        subprocess.run(("cp", "--sparse=always", self.pristine, disk), check=True)
        disk.with_suffix(".vhd").write_bytes(OLD)
        if full:
            overfull.fill(disk, full, folder)
            self.sha256 = sha256(disk)
        return disk

    def start(
        self,
        disk: Path,
        case: Case,
        variables: Mapping[str, str] | None = None,
        profile: Path | None = None,
    ) -> subprocess.Popen[str]:
        """Begin an apply."""
        wanted = (str(profile or self.profile), str(disk), "--force", *case.options)
        argv = (sys.executable, "-m", "imgfix", "apply", *wanted)
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(disk.parents[1] / "tmp"),
            "LIBGUESTFS_CACHEDIR": os.environ.get("LIBGUESTFS_CACHEDIR", "/var/tmp"),
            MARK: str(self.scratch),
            **(variables or {}),
        }
        return subprocess.Popen(
            argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def processes(self) -> set[int]:
        """Return the marked processes that run."""
        mark = f"{MARK}={self.scratch}".encode()
        found = set()
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                try:
                    if mark in (folder / "environ").read_bytes().split(b"\0"):
                        found.add(int(folder.name))
                except OSError:
                    continue
        return found

    def gone(self, seconds: float = 30.0) -> bool:
        """Wait for the end of all marked processes; libguestfs' guard of QEMU looks at its parent every two seconds."""
        end = time.monotonic() + seconds
        while self.processes() and time.monotonic() < end:
            time.sleep(0.2)
        return not self.processes()


def boundaries(bench: Bench, case: Case) -> list[str]:
    """Return the names that one apply passes, each once, in their order."""
    disk = bench.fresh()
    trace = bench.scratch / "trace"
    trace.unlink(missing_ok=True)
    _succeed(bench.start(disk, case, {fault.TRACE: str(trace)}))
    return list(dict.fromkeys(trace.read_text().split()))


def check(bench: Bench, case: Case, moment: str) -> str:
    """Kill at one point, look, run again, look; returns what was there after the kill. Raises Wrong."""
    disk = bench.fresh(small=case.victim == "space", full=moment if case.victim == "guest" else "")
    harms = {"imgfix": _kill_imgfix, "qemu": _kill_qemu, "space": _fill, "sector": spoil, "guest": _ask_more}
    harm = harms[case.victim]
    status = harm(bench, disk, case, moment)
    if not bench.gone():
        raise Wrong(f"processes outlive the kill: {bench.processes()}")
    state = _state(bench, disk, case)
    if state != DONE:  # else the disk has its new name, and there is nothing to run again
        _succeed(bench.start(disk, case))
    output = disk.with_suffix(".vhd")
    _require_complete(output)
    wanted = {output.name} if case.in_place else {output.name, disk.name}
    left = {path.name for path in disk.parent.iterdir()} - wanted
    left |= {f"TMPDIR/{path.name}" for path in (disk.parents[1] / "tmp").iterdir()}
    if left:
        raise Wrong(f"left after the rerun: {', '.join(sorted(left))}")
    if not case.in_place and sha256(disk) != bench.sha256:
        raise Wrong("the source changed")
    if not bench.gone():
        raise Wrong(f"processes outlive the rerun: {bench.processes()}")
    return f"{status}; {state}"


def _kill_imgfix(bench: Bench, disk: Path, case: Case, moment: str) -> str:
    process = bench.start(disk, case, {fault.KILL_AT: moment})
    _, stderr = process.communicate(timeout=TIMEOUT)
    if process.returncode != -signal.SIGKILL:
        raise Wrong(f"imgfix was not killed, status {process.returncode}: {stderr[-500:]}")
    return "killed"


def _kill_qemu(bench: Bench, disk: Path, case: Case, moment: str) -> str:
    """Stop imgfix at the boundary, kill its QEMU, let it go on: it must end with an error of its own."""
    process = _at(bench, disk, case, moment)
    machines = [pid for pid in bench.processes() if _is_qemu(pid)]
    for pid in machines:
        os.kill(pid, signal.SIGKILL)
    os.kill(process.pid, signal.SIGCONT)
    _, stderr = process.communicate(timeout=TIMEOUT)
    if not machines:
        raise Wrong("no QEMU ran at this boundary")
    if process.returncode not in (4, 5) or "Traceback" in stderr:
        raise Wrong(f"status {process.returncode}, 4 or 5 expected: {stderr[-800:]}")
    return f"status {process.returncode}"


def _at(bench: Bench, disk: Path, case: Case, moment: str) -> subprocess.Popen[str]:
    """Begin an apply and return when it has stopped at the boundary."""
    process = bench.start(disk, case, {fault.STOP_AT: moment})
    while not _stopped(process.pid):
        if process.poll() is not None:
            raise Wrong(f"imgfix ended before the boundary: {process.communicate()[1][-500:]}")
        time.sleep(0.1)
    return process


def _fill(bench: Bench, disk: Path, case: Case, moment: str) -> str:
    """Stop imgfix at the boundary, take all space there is, let it go on; then give the space back."""
    process = _at(bench, disk, case, moment)
    stranger = disk.with_name("stranger")
    with stranger.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while stream.write(bytes(4096)):
            pass
    os.kill(process.pid, signal.SIGCONT)
    _, stderr = process.communicate(timeout=TIMEOUT)
    stranger.unlink()
    if process.returncode == 0:
        return "done without more space"
    said = re.search(r"[^:]*free, .* needed", stderr)
    if process.returncode not in (4, 5) or said is None:
        raise Wrong(f"status {process.returncode}, 4 or 5 with both numbers expected: {stderr[-800:]}")
    partial = [path.name for path in disk.parent.iterdir() if path.name.startswith(".")]
    if partial and not disk.with_name(f".{disk.name}.imgfix-journal").exists():
        raise Wrong(f"left after the error: {partial}")
    return f"status {process.returncode},{said[0]}"


def spoil(bench: Bench, disk: Path, case: Case, moment: str) -> str:
    """Let no program of the apply read the sector at byte `moment` of the source."""
    process = bench.start(disk, case, eio.variables(bench.shim, disk, int(moment)))
    _, stderr = process.communicate(timeout=TIMEOUT)
    if case.in_place and process.returncode == 0:
        return "never read"
    if process.returncode != 4:
        raise Wrong(f"status {process.returncode}, 4 expected: {stderr[-800:]}")
    return "status 4, " + stderr[stderr.index("error: ") :].splitlines()[0]


def _ask_more(bench: Bench, disk: Path, case: Case, moment: str) -> str:
    """Ask for more than the guest has room for at `moment`, a path in it."""
    process = bench.start(disk, case, profile=overfull.profile(bench.scratch, moment))
    _, stderr = process.communicate(timeout=TIMEOUT)
    free = overfull.said(stderr)
    if process.returncode != 5 or free is None:
        raise Wrong(f"status {process.returncode}, 5 with both numbers expected: {stderr[-800:]}")
    return f"status 5, {overfull.BIG} bytes needed, {free} free"


def _stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


def _is_qemu(pid: int) -> bool:
    """The guard that libguestfs forks has imgfix's command line, not QEMU's."""
    try:
        return b"qemu-system" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    except OSError:
        return False


def _state(bench: Bench, disk: Path, case: Case) -> str:
    """Say what is there after a kill; raises Wrong for what must not be."""
    output = disk.with_suffix(".vhd")
    if disk.exists() and sha256(disk) == bench.sha256:
        source = "source as it was"
    elif case.in_place and disk.with_name(f".{disk.name}.imgfix-journal").exists():
        source = "journal to complete"
    elif case.in_place and not disk.exists():
        _require_complete(output)
        return DONE
    else:
        raise Wrong("the source is neither as it was nor recoverable")
    if not output.exists():
        return f"{source}, no output"
    if output.read_bytes()[: len(OLD) + 1] == OLD:
        return f"{source}, old output"
    _require_complete(output)
    return f"{source}, complete output"


def _require_complete(vhd: Path) -> None:
    """The footer is right, the disk is a whole number of MiB, the file system clean, and the change made."""
    size = vhd.stat().st_size - FOOTER_SIZE
    with vhd.open("rb") as stream:
        read = reader(stream.fileno(), vhd.stat().st_size)
        if found := faults(read, size, read(size, FOOTER_SIZE)):
            raise Wrong(f"{vhd.name} is no finished VHD: {found}")
    argv = ("debugfs", "-R", "cat /etc/fstab", f"{vhd}?offset={plain.ROOT_START}")
    fstab = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    if "swap" in fstab or "LABEL=root" not in fstab:
        raise Wrong(f"{vhd.name} is not what an apply makes: {fstab!r}")


def _succeed(process: subprocess.Popen[str]) -> None:
    _, stderr = process.communicate(timeout=TIMEOUT)
    if process.returncode:
        raise Wrong(f"an apply without a kill ended with {process.returncode}: {stderr[-800:]}")


def points(bench: Bench, case: Case) -> list[str]:
    """Return the boundaries of a case: for QEMU, those between which it runs and has work left; or bytes."""
    if case.victim == "sector":
        return [str(at) for at in plain.SECTORS]
    if case.victim == "guest":
        return list(overfull.PLACES)
    names = boundaries(bench, case)
    if case.victim == "imgfix":
        return names
    if case.victim == "space":
        return names[names.index("copy" if "copy" in names else "overlay") : names.index("end-emit")]
    return names[names.index("end-launch") : names.index("begin-verify") + 1]


def sweep(cases: list[Case], every: int, part: tuple[int, int]) -> Iterator[tuple[Case, str, str]]:
    """Yield each point: case, boundary, and what came of it, which begins with WRONG where a promise broke."""
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="imgfix-sweep-", dir="/var/tmp"))
        bench = Bench(Path(name))
        stack.callback(bench.unmount)
        number = 0
        for case in cases:
            for moment in points(bench, case)[::every]:
                number += 1
                if number % part[1] != part[0]:
                    continue
                try:
                    yield case, moment, check(bench, case, moment)
                except (Wrong, subprocess.SubprocessError) as error:
                    yield case, moment, f"WRONG: {error}"
                    for pid in bench.processes():
                        os.kill(pid, signal.SIGKILL)


def main() -> None:
    """Run the sweep and print each point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=1, help="only each Nth boundary")
    parser.add_argument("--part", default="0/1", metavar="K/N", help="only the points of this share")
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES])
    options = parser.parse_args()
    share, shares = map(int, options.part.split("/"))
    cases = [case for case in CASES if not options.case or case.name in options.case]
    begin, done, wrong = time.monotonic(), 0, 0
    for case, moment, came in sweep(cases, options.every, (share, shares)):
        done += 1
        wrong += came.startswith("WRONG")
        print(f"{case.name:14} {moment:15} {came}", flush=True)
    print(f"{done} points in {time.monotonic() - begin:.0f} s, {wrong} wrong", flush=True)
    sys.exit(bool(wrong) or not done)


if __name__ == "__main__":
    main()
