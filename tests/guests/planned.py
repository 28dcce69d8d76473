"""Every test disk: planned set = changed set, and the result is ready. Run by scripts/bench/planned.

`fetched` is the disk that comes without agents, its packages fetched: what check named, against what apply then did.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from imgfix.readiness.requirements import UNFORESEEN
from tests.guests import result
from tests.guests.listing import compare, listing, planned
from tests.guests.workshop import ROOT, Run, imgfix, sha256

DISKS = ("debian11", "debian13", "ubuntu", "el8", "el9", "suse", "debian12")
#: Debian's disk comes without agents, and nothing is fetched here.
SETTINGS = {"debian12": ("--set", "packages.missing=warn")}


def prove(disk: str, folder: Path) -> bool:
    """Check, apply, compare and check again; print what was found and return whether all is well."""
    source, vhd = folder / f"{disk}.raw", folder / f"{disk}.vhd"
    subprocess.run((ROOT / "scripts/make-test-disk", disk, source), check=True)
    digest, settings = sha256(source), SETTINGS.get(disk, ())
    start = time.monotonic()
    before = imgfix("check", source, "--json", *settings, folder=folder)
    took = time.monotonic() - start
    assert before.status == 6, before.stderr
    plan = planned(json.loads(before.stdout))
    done = imgfix("apply", "auto", source, "-o", vhd, *settings, folder=folder)
    assert done.status == 0, done.stderr
    after = imgfix("check", vhd, "--json", *settings, folder=folder)
    with result.opened(source, folder, footer=0) as handle:
        old = listing(handle, folder)
    with result.opened(vhd, folder) as handle:
        new = listing(handle, folder)
    unplanned, unchanged = compare(old, new, plan)
    untouched = sha256(source) == digest
    print(
        f"{disk}: check {took:.0f} s; {len(plan.edits)} paths and {len(plan.rebuilds)} rebuilds planned; "
        f"of {len(old)} files changed unplanned: {sorted(unplanned) or 'none'}; planned and not changed: "
        f"{sorted(unchanged) or 'none'}; afterwards {_verdict(after)}; "
        f"source {'untouched' if untouched else 'CHANGED'}",
        flush=True,
    )
    for path in (source, vhd):
        path.unlink()
    return not unplanned and not unchanged and after.status == 0 and untouched


def _verdict(after: Run) -> str:
    """Say how the result stands, and what is not ready of it."""
    if after.status == 0:
        return "ready"
    if after.status != 6:
        return f"NOT READY: exit {after.status}: {after.stderr}"
    left = [
        f"{requirement['id']}: {finding['action'] or ''} {finding['target']} {finding['text']}"
        for requirement in json.loads(after.stdout)["requirements"]
        for finding in requirement["findings"]
        if finding["status"] in ("fixed by apply", "blocker")
    ]
    return f"NOT READY: {left}"


def prove_fetched(folder: Path) -> bool:
    """Apply with packages from the repositories: all that check said is done; more only by the steps it named."""
    source, vhd, written = (folder / f"fetched{end}" for end in (".raw", ".vhd", ".json"))
    subprocess.run((ROOT / "scripts/make-test-disk", "debian12", source), check=True)
    before = imgfix("check", source, "--json", folder=folder)
    assert before.status == 6, before.stderr
    said = {
        (finding["step"], finding["target"])
        for requirement in json.loads(before.stdout)["requirements"]
        for finding in requirement["findings"]
        if finding["action"] is not None
    }
    done = imgfix("apply", "auto", source, "-o", vhd, "--report", written, folder=folder)
    assert done.status == 0, done.stderr
    report = json.loads(written.read_text())
    did = {(step["name"], change["what"]) for step in report["steps"] for change in step["changes"]}
    after = imgfix("check", vhd, "--json", folder=folder)
    late = {step for step, _ in did - said}
    print(
        f"fetched: {len(said)} changes told; {len(report['package_changes'])} packages came; told and not done: "
        f"{sorted(said - did) or 'none'}; done and not told: {sorted(did - said) or 'none'}; "
        f"afterwards {_verdict(after)}",
        flush=True,
    )
    source.unlink()
    vhd.unlink()
    return said <= did and late <= UNFORESEEN and after.status == 0


def main() -> int:
    """Prove the disks that are named."""
    with tempfile.TemporaryDirectory(prefix="imgfix-planned-") as folder:
        proven = [
            prove_fetched(Path(folder)) if disk == "fetched" else prove(disk, Path(folder))
            for disk in sys.argv[1:] or (*DISKS, "fetched")
        ]
    return 0 if all(proven) else 1


if __name__ == "__main__":
    sys.exit(main())
