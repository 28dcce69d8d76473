"""The script of the first boot, run by a real shell below a temporary folder."""

from __future__ import annotations

import subprocess
from pathlib import Path

from imgfix.change import WriteFile
from imgfix.facts.model import Distro, Facts, Storage
from imgfix.plan import build_plan
from imgfix.profile import Profile, Provisioning
from imgfix.steps.first_boot import RC_LINE, SCRIPT, START, UNIT, FirstBoot
from tests.fake_tree import FakeTree

FACTS = Facts(Distro("debian", (), "12", "Debian 12", "debian"), (), (), Storage("gpt", ()))
SYSTEMD = {"/usr/lib/systemd/system/x.service": "x"}
EL6 = {"/etc/rc.d/rc.local": "#!/bin/sh\necho before\n"}
COMMANDS: dict[str, tuple[str, ...] | None] = {
    "it's first": ("/bin/sh", "-e", "-c", 'echo "$0 one"\nfalse\necho never'),
    "second": ("printf", "%s|", "a b", "$HOME", ""),
    "missing": ("/no/such/program",),
    "last": ("echo", "done"),
}


def _installed(folder: Path, files: dict[str, str], profile: Profile) -> Path:
    """Write what the step decides below `folder`, its paths turned to there; returns the script."""
    plan = build_plan([FirstBoot()], profile, FACTS, FakeTree(files))
    for edit in plan.edits:
        path = folder / edit.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        text = edit.content.decode() if isinstance(edit, WriteFile) else "a link"
        for top in ("/var/lib/", "/etc/systemd/", "/etc/rc.d/"):
            text = text.replace(top, f"{folder}{top}")
        path.write_text(text)
    return folder / SCRIPT.lstrip("/")


def _run(argv: tuple[str | Path, ...]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


def test_every_command_runs_once_and_the_script_removes_itself(tmp_path: Path) -> None:
    script = _installed(tmp_path, SYSTEMD, Profile(name="test", first_boot=COMMANDS))
    done = _run(("/bin/sh", script))
    assert done.stdout == (
        "imgfix: it's first\n/bin/sh one\nimgfix: second\na b|$HOME||imgfix: missing\nimgfix: last\ndone\n"
    )
    told = [line for line in done.stderr.splitlines() if line.startswith("imgfix")]
    assert told == [
        "imgfix: failed with status 1: it's first",
        "imgfix: failed with status 127: missing",
    ]
    assert done.returncode == 127
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_is_removed_is_removed_before_anything_runs(tmp_path: Path) -> None:
    left = " ".join(str(tmp_path / path.lstrip("/")) for path in (SCRIPT, UNIT, START))
    look: dict[str, tuple[str, ...] | None] = {
        "look": ("/bin/sh", "-e", "-c", f"ls {left} || echo gone".replace("/var/lib/", "/var//lib/"))
    }
    script = _installed(tmp_path, SYSTEMD, Profile(name="test", first_boot=look))
    assert all((tmp_path / path.lstrip("/")).exists() for path in (SCRIPT, UNIT, START))
    assert "gone" in _run(("/bin/sh", script)).stdout


def test_before_systemd_rc_local_starts_it_once(tmp_path: Path) -> None:
    _installed(tmp_path, EL6, Profile(name="test", first_boot={"a": ("echo", "first boot")}))
    rc_local = tmp_path / "etc/rc.d/rc.local"
    assert RC_LINE.replace("/var/lib/", f"{tmp_path}/var/lib/") in rc_local.read_text()
    assert _run(("/bin/sh", rc_local)).stdout == "before\nimgfix: a\nfirst boot\n"
    assert rc_local.read_text() == EL6["/etc/rc.d/rc.local"]
    assert _run(("/bin/sh", rc_local)).stdout == "before\n"


def test_it_waits_for_waagent_where_that_provisions(tmp_path: Path) -> None:
    profile = Profile(
        name="test", provisioning=Provisioning(agent="waagent"), first_boot={"a": ("echo", "ready")}
    )
    script = _installed(tmp_path, SYSTEMD, profile)
    mark = tmp_path / "var/lib/waagent/provisioned"
    mark.parent.mkdir(parents=True)
    running = subprocess.Popen(("/bin/sh", script), stdout=subprocess.PIPE, text=True)
    try:
        assert running.poll() is None
        mark.write_text("")
        output, _ = running.communicate(timeout=60)
    finally:
        running.kill()
    assert output == "imgfix: a\nready\n"
