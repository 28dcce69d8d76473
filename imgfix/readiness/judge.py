"""The verdict: a preview told by requirement. Each decision of the plan goes to its requirements by a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from imgfix import __version__
from imgfix.change import (
    Advice,
    AppendFile,
    Copy,
    Decision,
    InstallPackages,
    Link,
    Noop,
    Rebuild,
    Remove,
    RemovePackages,
    RemoveSwapDevice,
    RunCommand,
    SetAttributes,
    WriteFile,
)
from imgfix.difference import Difference
from imgfix.disk import qemu_img
from imgfix.disk.finished import misaligned, overlapping
from imgfix.disk.size import describe
from imgfix.errors import HostError, ImgfixError
from imgfix.facts.model import Facts
from imgfix.plan import Plan, Refusal
from imgfix.preview import Preview
from imgfix.readiness import evidence
from imgfix.readiness.model import (
    Action,
    Disk,
    Evidence,
    EvidenceKind,
    Finding,
    GenerationVerdict,
    Guest,
    Readiness,
    Requirement,
    Status,
)
from imgfix.readiness.requirements import (
    AFTER_PACKAGES,
    SILENT,
    TITLES,
    UNFORESEEN,
    covered_by,
    requirements_of,
)
from imgfix.steps.packages import Packages
from imgfix.wording import without_place

#: The step that findings about the image file itself are told of.
_DISK = "disk"
_LATER = "decided when the packages are installed"

Placed = tuple[str, Finding]


def judge(preview: Preview) -> Readiness:
    """Return the verdict on what was previewed."""
    placed: dict[str, list[Finding]] = {requirement: [] for requirement in TITLES}
    for requirement, finding in (*_of_disk(preview), *_of_host(), *_of_plan(preview)):
        placed[requirement].append(finding)
    for requirement, finding in _unseen(preview, placed):
        placed[requirement].append(finding)
    told = tuple(_requirement(name, found, preview.facts) for name, found in placed.items())
    worst = max((r.status for r in told), key=lambda status: status.rank)
    profile, distro, source = preview.profile, preview.facts.distro, preview.source
    return Readiness(
        imgfix=__version__,
        disk=Disk(path=str(source.path), format=source.format.value, size=source.size),
        profile=profile.name,
        mode=profile.mode.value,
        guest=Guest(
            name=distro.pretty_name,
            id=distro.id,
            version=distro.version,
            family=distro.family,
            kernels=tuple(kernel.release for kernel in preview.facts.kernels),
        ),
        ready=worst.rank <= Status.ADVICE.rank,
        fixable=worst is not Status.BLOCKER,
        generations=_generations(preview.facts),
        requirements=told,
    )


def _requirement(name: str, found: list[Finding], facts: Facts) -> Requirement:
    findings = tuple(dict.fromkeys(found)) or (Finding(status=Status.READY, text=SILENT[name], step=""),)
    shown = evidence.OF_FACTS.get(name)
    return Requirement(
        id=name,
        title=TITLES[name],
        status=max((f.status for f in findings), key=lambda status: status.rank),
        findings=findings,
        evidence=tuple(shown(facts)) if shown is not None else (),
    )


def _generations(facts: Facts) -> tuple[GenerationVerdict, ...]:
    if facts.generations is None:
        return ()
    first, second = facts.generations.gen1, facts.generations.gen2
    return (
        GenerationVerdict(generation=1, boots=first.possible, reasons=first.reasons),
        GenerationVerdict(generation=2, boots=second.possible, reasons=second.reasons),
    )


def _of_disk(preview: Preview) -> Iterator[Placed]:
    """What the image file itself is like (R1, R4, R8, R25), and what is in the way outside the guest's files."""
    source = preview.source
    seen = (Evidence(kind=EvidenceKind.DISK, name=str(source.path), detail=source.format.value),)

    def finding(status: Status, text: str, hint: str = "") -> Finding:
        return Finding(status=status, text=text, step=_DISK, hint=hint, evidence=seen)

    for fault in preview.faults:
        yield fault.requirement, finding(Status.FIXED, fault.text)
    wrong = {fault.requirement for fault in preview.faults}
    for requirement, text in (
        ("R1", "a fixed VHD whose footer says so"),
        ("R8", f"{describe(source.size)}, all of it in order"),
    ):
        if requirement not in wrong:
            yield requirement, finding(Status.READY, text)
    status = Status.FIXED if wrong else Status.READY
    yield (
        "R25",
        finding(status, "apply writes a file that Azure takes" if wrong else "Azure takes the file as it is"),
    )
    for trouble in preview.troubles:
        told = finding(Status.BLOCKER, trouble.error.message, hint=trouble.error.hint or "")
        yield trouble.requirement, told
    for warning in preview.warnings:
        yield "R4", finding(Status.ADVICE, warning)
    if not preview.warnings and not any(t.requirement == "R4" for t in preview.troubles):
        yield "R4", finding(Status.READY, describe(source.size))
    for text in misaligned(source.table):
        yield "storage", finding(Status.ADVICE, text)
    for text in overlapping(source.table):
        yield (
            "storage",
            finding(Status.BLOCKER, text, hint="export the disk again; its partition table is damaged"),
        )


def _of_host() -> Iterator[Placed]:
    try:
        version = qemu_img.installed_version()
        qemu_img.refuse_known_bad(version)
    except HostError as error:
        yield "R11", Finding(status=Status.BLOCKER, text=error.message, step=_DISK, hint=error.hint or "")
        return
    name = f"qemu-img {'.'.join(map(str, version))}"
    seen = (Evidence(kind=EvidenceKind.HOST, name=name),)
    yield (
        "R11",
        Finding(status=Status.READY, text=f"{name} is not among those that do", step=_DISK, evidence=seen),
    )


def _of_plan(preview: Preview) -> Iterator[Placed]:
    """Every decision and every refusal, for each of its requirements."""
    by_path = {difference.path: difference for difference in preview.differences}
    for item in preview.plan.items:
        finding = _finding(item.step, item.decision, by_path, preview.facts)
        if isinstance(item.decision, Advice) and _is_early(preview, item.step):
            finding = finding.model_copy(
                update={"status": Status.FIXED, "text": f"{_LATER}; now {finding.text}"}
            )
        words = f"{finding.action.value if finding.action else ''} {finding.target}: {finding.text}".lstrip()
        for requirement in requirements_of(item.step, words, preview.facts):
            yield requirement, finding
    for text in unforeseen(preview.plan):
        yield "R17", Finding(status=Status.FIXED, text=text, step=Packages.name)
    for refusal, finding in _refused(preview):
        for requirement in requirements_of(refusal.step, finding.text, preview.facts):
            yield requirement, finding


def unforeseen(plan: Plan) -> Iterator[str]:
    """Say what a plan cannot tell before its packages are installed; nothing where it installs none."""
    steps = ", ".join(sorted(UNFORESEEN))
    if any(not (install.files or install.parallel) for install in plan.installs):
        yield (
            "the packages come from the guest's own repositories: what comes along with them is known when they are "
            f"installed, and so is what these steps change besides: {steps}"
        )
    elif plan.installs:
        yield f"what these steps change besides is known when the packages are installed: {steps}"


def _is_early(preview: Preview, step: str) -> bool:
    """Tell whether `step` looks at what packages bring that are still to be installed."""
    return bool(preview.plan.installs) and step in AFTER_PACKAGES


def _refused(preview: Preview) -> Iterator[tuple[Refusal, Finding]]:
    for refusal in preview.refusals:
        yield refusal, _refusal(refusal, Status.BLOCKER, "")
    for refusal in preview.pending:
        yield refusal, _refusal(refusal, Status.FIXED, f"{_LATER}; now ")


def _refusal(refusal: Refusal, status: Status, before: str) -> Finding:
    error: ImgfixError = refusal.error
    text = error.message.removeprefix(f"{refusal.step}: ")
    return Finding(
        status=status,
        text=f"{before}{text}",
        step=refusal.step,
        hint=(error.hint or "") if status is Status.BLOCKER else "",
        evidence=evidence.of_text(text),
    )


def _unseen(preview: Preview, placed: Mapping[str, list[Finding]]) -> Iterator[Placed]:
    """What a step that refused did not come to look at is not ready: nobody knows."""
    for refusal, finding in _refused(preview):
        for requirement in covered_by(refusal.step):
            if not placed[requirement]:
                text = f"not looked at, because the step {refusal.step} stopped: {finding.text}"
                yield requirement, finding.model_copy(update={"text": text})
    if preview.plan.installs:
        for step in sorted(AFTER_PACKAGES):
            later = Finding(status=Status.FIXED, text=_LATER, step=step)
            yield from ((requirement, later) for requirement in covered_by(step) if not placed[requirement])


def _finding(step: str, decision: Decision, by_path: Mapping[str, Difference], facts: Facts) -> Finding:
    if isinstance(decision, Noop):
        return Finding(
            status=Status.READY, text=decision.reason, step=step, evidence=evidence.of_text(decision.reason)
        )
    if isinstance(decision, Advice):
        return Finding(
            status=Status.ADVICE, text=decision.text, step=step, evidence=evidence.of_text(decision.text)
        )
    action, target = act_of(decision)
    return Finding(
        status=Status.FIXED,
        text=without_place(decision.reason, target),
        step=step,
        action=action,
        target=target,
        evidence=evidence.of_decision(decision, by_path, facts),
    )


def act_of(decision: Decision) -> tuple[Action, str]:
    """Return what a change does, and to what: a path, a device, packages or a command line."""
    match decision:
        case WriteFile(path, content):
            return Action.WRITE if content else Action.EMPTY, path
        case Remove(path):
            return Action.REMOVE, path
        case Link(path):
            return Action.LINK, path
        case Copy(_, path):
            return Action.COPY, path
        case AppendFile(path):
            return Action.APPEND, path
        case SetAttributes(path):
            return Action.SET, path
        case RemoveSwapDevice(device):
            return Action.DELETE, device
        case InstallPackages(_, packages):
            return Action.INSTALL, ", ".join(packages)
        case RemovePackages(_, packages):
            return Action.UNINSTALL, ", ".join(packages)
        case RunCommand(_, argv):
            return Action.RUN, " ".join(argv)
        case Rebuild(_, target):
            return Action.REBUILD, target
        case Noop() | Advice():
            raise TypeError(f"{type(decision).__name__} changes nothing")
