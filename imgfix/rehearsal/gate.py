"""The rehearsal as the last step of an apply: what does not come to SSH is not published."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from imgfix.errors import VerifyError
from imgfix.interrupt import Interrupts
from imgfix.profile import Profile
from imgfix.progress import Progress
from imgfix.rehearsal.rehearse import Request, Result, rehearse
from imgfix.rehearsal.spec import Agent


def rehearse_work_copy(
    path: Path, target: Path, profile: Profile, progress: Progress, interrupts: Interrupts
) -> Result:
    """Boot the finished work copy, which is raw, as the profile means it; `target` is what it will be."""
    agent = profile.provisioner
    request = Request(
        path,
        agent=None if agent == "disabled" else cast(Agent, agent),
        provisioned=agent != "disabled",
        swap_on_resource_disk=profile.swap.resource_disk == "cloud-init",
        image_format="raw",
        target=target,
    )
    return rehearse(request, progress, interrupts)


def require_passed(result: Result) -> None:
    """Raise VerifyError with the stage, the cause and the remedy, or with the first answer that is a no."""
    cause = result.attempt.cause
    if cause is not None:
        key = f"; profile: {cause.key}" if cause.key else ""
        raise VerifyError(
            f"{result.request.name}: the rehearsal failed at {cause.stage.words}: {cause.text}",
            hint=f"{cause.remedy}{key}",
        )
    wrong = [answer for answer in result.attempt.answers if answer.ok is False]
    if wrong:
        raise VerifyError(
            f"{result.request.name}: it came to SSH in the rehearsal and is not ready: "
            + "; ".join(f"{answer.name}: {answer.detail}" for answer in wrong),
            hint="; ".join(answer.remedy for answer in wrong if answer.remedy) or None,
        )
