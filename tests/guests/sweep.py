"""Kills imgfix, and separately its QEMU, at the boundaries of an apply, or fills its disk; looks at what is left.

    python -m tests.guests.sweep [--every N] [--part K/N] [--case NAME]... [--chained]

Each point begins with a fresh disk and an older output that --force replaces. After the kill, the source must be as it
was, or (in place, from the journal on) be completed by the rerun; the output must be the old one, or a complete VHD, or
absent. Then the same command without the kill must succeed, and nothing may be left: no file, process or lock.

With --chained, which takes half the time, the rerun after one kill is itself killed at the next boundary, on the same
disk: it got past the first one among what that left. Where there is nothing to run again but what completes the change,
and at a case's end, the rerun goes to its end, and nothing that any of the kills left may be there.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from imgfix.disk import fault
from imgfix.disk.finished import faults
from imgfix.disk.source import reader
from imgfix.disk.vhd import FOOTER_SIZE
from tests.disk import eio
from tests.disks import plain
from tests.guests import overfull
from tests.guests.crash import CASES, OLD, Bench, Case, Wrong
from tests.guests.workshop import sha256

DONE = "disk renamed, complete output"
UNTOUCHED = "source as it was"
TIMEOUT = 900.0  # seconds; a launch under emulation on a busy host


def boundaries(bench: Bench, case: Case) -> list[str]:
    """Return the names that one apply passes, each once, in their order."""
    disk = bench.fresh()
    trace = bench.scratch / "trace"
    trace.unlink(missing_ok=True)
    _succeed(bench.start(disk, case, {fault.TRACE: str(trace)}))
    return list(dict.fromkeys(trace.read_text().split()))


def check(bench: Bench, case: Case, moment: str) -> str:
    """Harm one apply of a fresh disk, look, run again, look; returns what was there after the harm. Raises Wrong."""
    disk = _fresh(bench, case, moment)
    came, state = harm(bench, case, moment, disk)
    run_again(bench, case, disk, state)
    return came


def _fresh(bench: Bench, case: Case, moment: str) -> Path:
    return bench.fresh(small=case.victim == "space", full=moment if case.victim == "guest" else "")


def harm(bench: Bench, case: Case, moment: str, disk: Path) -> tuple[str, str]:
    """Harm one apply at one point, and look; returns what came of it, and in what state the disk is. Raises Wrong."""
    harms = {"imgfix": _kill_imgfix, "qemu": _kill_qemu, "space": _fill, "sector": spoil, "guest": _ask_more}
    status = harms[case.victim](bench, disk, case, moment)
    if not bench.gone():
        raise Wrong(f"processes outlive the kill: {bench.processes()}")
    state = _state(bench, disk, case)
    return f"{status}; {state}", state


def run_again(bench: Bench, case: Case, disk: Path, state: str) -> None:
    """Run the same without harm, and look for what is left. Raises Wrong."""
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
        source = UNTOUCHED
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


def points(bench: Bench, case: Case, known: dict[bool, list[str]]) -> list[str]:
    """Return the boundaries of a case: for QEMU, those between which it runs and has work left; or bytes.

    `known` are the boundaries of an apply, in place or not; it gets those that are found out.
    """
    if case.victim == "sector":
        return [str(at) for at in plain.SECTORS]
    if case.victim == "guest":
        return list(overfull.PLACES)
    names = known[case.in_place] = known.get(case.in_place) or boundaries(bench, case)
    if case.victim == "imgfix":
        return names
    if case.victim == "space":
        return names[names.index("copy" if "copy" in names else "overlay") : names.index("end-emit")]
    return names[names.index("end-launch") : names.index("begin-verify") + 1]


def _row(bench: Bench, case: Case, moments: list[str], *, chained: bool) -> Iterator[tuple[str, str]]:
    """Yield the points of one case; with `chained`, one rerun for as many kills as the disk takes."""
    disk: Path | None = None
    for moment in moments:
        came = ""
        try:
            disk = disk or _fresh(bench, case, moment)
            came, state = harm(bench, case, moment, disk)
            goes_on = chained and case.victim != "guest" and moment != moments[-1]
            if not goes_on or (case.in_place and not state.startswith(UNTOUCHED)):
                run_again(bench, case, disk, state)
                disk = None
        except (Wrong, subprocess.SubprocessError) as error:
            came, disk = f"WRONG: {came} {error}", None
            for pid in bench.processes():
                os.kill(pid, signal.SIGKILL)
        yield moment, came


def sweep(options: argparse.Namespace) -> Iterator[tuple[Case, str, str]]:
    """Yield each point: case, boundary, and what came of it, which begins with WRONG where a promise broke."""
    share, shares = map(int, options.part.split("/"))
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="imgfix-sweep-", dir="/var/tmp"))
        bench = Bench(Path(name))
        stack.callback(bench.unmount)
        known: dict[bool, list[str]] = {}
        for case in CASES:
            if options.case and case.name not in options.case:
                continue
            moments = points(bench, case, known)[:: options.every][share::shares]
            for moment, came in _row(bench, case, moments, chained=options.chained):
                yield case, moment, came


def main() -> None:
    """Run the sweep and print each point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=1, help="only each Nth boundary")
    parser.add_argument("--part", default="0/1", metavar="K/N", help="only the points of this share")
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES])
    parser.add_argument("--chained", action="store_true", help="kill each rerun at the next boundary")
    options = parser.parse_args()
    begin, done, wrong = time.monotonic(), 0, 0
    for case, moment, came in sweep(options):
        done += 1
        wrong += came.startswith("WRONG")
        print(f"{case.name:14} {moment:15} {came}", flush=True)
    print(f"{done} points in {time.monotonic() - begin:.0f} s, {wrong} wrong", flush=True)
    sys.exit(bool(wrong) or not done)


if __name__ == "__main__":
    main()
