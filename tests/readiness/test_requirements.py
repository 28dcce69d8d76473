"""The tables that take decisions to requirements: whole, and held against every case of every step."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgfix.change import Advice, Noop
from imgfix.errors import GuestError
from imgfix.plan import survey
from imgfix.readiness.judge import act_of
from imgfix.readiness.requirements import DEFAULTS, ROWS, SILENT, TITLES, covered_by, requirements_of
from imgfix.steps import PACKAGES, STEPS
from tests import case as cases

_STEPS = {step.name: step for step in (PACKAGES, *STEPS)}

#: Requirements of the image that no step decides on: the disk, the host.
_OF_DISK = {"R1", "R4", "R8", "R11", "R25"}


def test_every_step_and_every_requirement_is_in_the_tables() -> None:
    assert set(DEFAULTS) == set(_STEPS)
    assert {row.step for row in ROWS} <= set(_STEPS)
    covered = {requirement for step in _STEPS for requirement in covered_by(step)}
    assert covered | _OF_DISK == set(TITLES) == set(SILENT)
    assert not covered & _OF_DISK
    assert {f"R{number}" for number in range(1, 27)} <= set(TITLES)


@pytest.mark.parametrize("step", _STEPS)
def test_a_step_is_told_under_what_it_says_it_serves(step: str) -> None:
    """And under nothing else but what has no row in the guide, or is served by several."""
    numbered = {requirement for requirement in covered_by(step) if requirement.startswith("R")}
    served = set(_STEPS[step].requirements)
    assert served <= numbered | {"R17", "R24", "R7", "R9", "R19"}, served - numbered
    assert numbered - served <= {"R7", "R13", "R17"}, numbered - served


@pytest.mark.parametrize(
    ("step", "words", "told"),
    [
        ("swap", "remove /mnt/resource/swapfile: no swap on the OS disk: swap file", ("R22",)),
        ("swap", "delete /dev/sda3: no swap on the OS disk: swap partition", ("R7",)),
        ("packages", "install waagent, openssh-server: Azure needs them", ("R13", "R16", "R17")),
        ("packages", "uninstall open-vm-tools: only another platform needs it", ("R9",)),
        (
            "kernel_modules",
            "write /etc/modprobe.d/a.conf: `install udf /bin/true` kept udf from loading",
            ("R3",),
        ),
        ("kernel_modules", "/etc/a:1: `blacklist hv_netvsc` kept hv_netvsc from loading", ("R10",)),
        (
            "kernel_modules",
            "kernel 2.6.32 has no hv_vmbus, neither; it cannot run on Hyper-V",
            ("R10", "R12"),
        ),
        ("cloud_init", "write /etc/cloud/cloud.cfg.d/91: Azure is the only datasource", ("R21",)),
        ("cloud_init", "write /etc/cloud/cloud.cfg.d/05: cloud-init's output goes to a log", ("R23",)),
        ("cloud_init", "write /etc/cloud/cloud.cfg: disk_setup, mounts run in the init stage", ("R20",)),
        ("services", "link /etc/systemd/system/x: ssh server starts at boot", ("R16",)),
        ("services", "link /etc/systemd/system/x: a login on ttyS0", ("R26",)),
        ("initramfs", "rebuild /boot/initrd.img waits for removed swap: RESUME=", ("R7", "R10")),
    ],
)
def test_rows(step: str, words: str, told: tuple[str, ...]) -> None:
    facts = cases.read(next(p for p in cases.paths() if p.parent.name == "lvm"), Path()).facts
    assert requirements_of(step, words, facts) == told


@pytest.mark.parametrize("path", cases.paths()[::12], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_decision_of_the_cases_belongs_somewhere(path: Path, tmp_path: Path) -> None:
    case = cases.read(path, tmp_path)
    steps = case.steps(tuple(_STEPS.values()))
    plan, refusals = survey(steps, case.profile, case.facts, case.tree)
    for item in plan.items:
        if not isinstance(item.decision, Noop | Advice):
            act_of(item.decision)
        assert set(requirements_of(item.step, repr(item.decision), case.facts)) <= set(covered_by(item.step))
    assert all(isinstance(refusal.error, GuestError) for refusal in refusals)
    assert {item.step for item in plan.items} | {refusal.step for refusal in refusals} >= set(_STEPS) - {
        "commands"
    }
