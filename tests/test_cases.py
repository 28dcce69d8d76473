"""Every case of tests/cases: planned as expected, and once that is done there is nothing left to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgfix.errors import GuestError
from imgfix.plan import build_plan
from imgfix.steps import PACKAGES, STEPS
from imgfix.steps.fstab import Fstab
from imgfix.steps.protocol import Follower, Step
from tests import case as cases
from tests import case_differences, case_outcome

#: What a follower follows in its cases.
_LEAD: Step = Fstab()
_STEPS: dict[str, tuple[Step | Follower, ...]] = {
    step.name: (_LEAD, step) if isinstance(step, Follower) else (step,) for step in (PACKAGES, *STEPS)
}
_ALL = {**_STEPS, "whole": STEPS}


def _name(path: Path) -> str:
    return str(path.relative_to(cases.FOLDER).with_suffix(""))


@pytest.mark.parametrize("path", cases.paths(), ids=_name)
def test_case(path: Path, tmp_path: Path) -> None:
    case = cases.read(path, tmp_path)
    steps = case.steps(_ALL[path.parent.name])
    if case.error:
        with pytest.raises(GuestError) as caught:
            build_plan(steps, case.profile, case.facts, case.tree)
        told = f"{caught.value.message}\n{caught.value.hint}"
        assert [part for part in case.error if part not in told] == [], told
        return
    plan = build_plan(steps, case.profile, case.facts, case.tree)
    assert plan.items, "a step says at least why there is nothing to do"
    assert not (found := case_differences.differences(case, plan)), "\n".join(found)
    again = build_plan(steps, case.profile, *case_outcome.done(case, plan))
    assert [item.decision for item in again.changes] == []
    assert again.items


@pytest.mark.parametrize("step", _STEPS)
def test_every_step_has_cases(step: str) -> None:
    names = {path.stem for path in cases.paths() if path.parent.name == step}
    assert len(names) >= 4, names


def test_every_case_belongs_to_a_step() -> None:
    assert {path.parent.name for path in cases.paths()} <= set(_ALL)
