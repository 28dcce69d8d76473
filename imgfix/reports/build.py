"""From a diary to the published report. Pure but for the versions, which are given."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from imgfix import guestfish
from imgfix.change import Advice, Noop
from imgfix.diary import Diary
from imgfix.disk.formats import Format
from imgfix.disk.partition import PartitionTable
from imgfix.disk.vhd import FOOTER_SIZE
from imgfix.errors import ExitCode
from imgfix.facts import model as facts
from imgfix.plan import Item
from imgfix.profile import Profile
from imgfix.progress import Ran, Span
from imgfix.recording import FileChange, FileState
from imgfix.reports import azure, model
from imgfix.reports.diff import diff
from imgfix.reports.disk import disk
from imgfix.reports.verdicts import verdicts
from imgfix.tree import Kind
from imgfix.wording import told

#: What QEMU calls the formats that can lie below an overlay as they are.
_BACKING = {
    Format.RAW: "raw",
    Format.FIXED_VHD: "raw",
    Format.DYNAMIC_VHD: "vpc",
    Format.VHDX: "vhdx",
    Format.QCOW2: "qcow2",
    Format.VMDK: "vmdk",
    Format.VDI: "vdi",
}
#: The step whose advice is what looks secret.
_SECRETS = "secrets"
#: The step that takes away what is the old machine's own: what its logs and identity held is not to live on here.
_GENERALIZE = "generalize"


def build(
    diary: Diary,
    spans: Sequence[Span],
    versions: model.Versions,
    requirements: Mapping[str, tuple[str, ...]],
    ended: float,
    commands: Sequence[Ran] = (),
) -> model.Report:
    """Return the report of an apply that is over; `requirements` are those of each step, `ended` is unix time."""
    before, after = diary.before, diary.after
    return model.Report(
        outcome="ready" if diary.published and diary.error is None else "failed",
        began=_time(diary.began),
        ended=_time(ended),
        versions=versions,
        source=_source(diary),
        output=_output(diary),
        profile=_profile(diary.profile) if diary.profile else None,
        guest=_guest(before.distro) if before else None,
        generations=tuple(_generations(after.generations)) if after and after.generations else (),
        disk_before=_disk(diary.source.table, diary.source.size, before) if diary.source else None,
        disk_after=_disk(diary.table, diary.size, after) if diary.table and diary.size else None,
        kernels=tuple(_kernels(before, after)),
        packages=tuple(model.Package(name=p.name, version=p.version) for p in after.packages)
        if after
        else (),
        package_changes=tuple(_package_changes(before, after)),
        requirements=(
            verdicts(diary.items, before, diary.size, diary.warnings)
            if diary.published and before is not None and diary.size is not None
            else ()
        ),
        steps=tuple(_steps(diary.items, requirements)),
        files=tuple(_file(change) for change in diary.files),
        secrets=tuple(
            i.decision.text for i in diary.items if i.step == _SECRETS and isinstance(i.decision, Advice)
        ),
        warnings=diary.warnings,
        phases=tuple(
            model.Phase(name=s.name, begin=round(s.begin, 3), seconds=round(s.seconds, 3))
            for s in sorted(spans, key=lambda span: span.begin)
        ),
        rehearsal=diary.rehearsal,
        commands=tuple(
            model.CommandTime(
                argv=c.argv, begin=round(c.begin, 3), seconds=round(c.seconds, 3), status=c.status
            )
            for c in commands
        ),
        launches=diary.launches,
        next=_next(diary),
        failure=_failure(diary),
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(round(seconds), timezone.utc)


def _source(diary: Diary) -> model.SourceDisk | None:
    source = diary.source
    if source is None:
        return None
    return model.SourceDisk(
        path=str(source.path), format=source.format.value, size=source.size, sha256=diary.source_sha256
    )


def _output(diary: Diary) -> model.OutputDisk | None:
    if not diary.published or diary.target is None or diary.size is None:
        return None
    return model.OutputDisk(
        path=str(diary.target),
        size=diary.size,
        file_size=diary.size + FOOTER_SIZE,
        sha256=diary.output_sha256,
    )


def _profile(profile: Profile) -> model.ProfileUsed:
    return model.ProfileUsed(
        name=profile.name,
        mode="generalized" if profile.generalized else "specialized",
        sha256=profile_digest(profile),
    )


def profile_digest(profile: Profile) -> str:
    """Return the digest of a profile's settings, whatever files and options they came from."""
    settings = profile.model_dump(mode="json")
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _guest(distro: facts.Distro) -> model.Guest:
    return model.Guest(
        id=distro.id, version=distro.version, pretty_name=distro.pretty_name, family=distro.family
    )


def _generations(found: facts.Generations) -> Iterator[model.Generation]:
    yield model.Generation(number=1, boots=found.gen1.possible, reasons=found.gen1.reasons)
    yield model.Generation(number=2, boots=found.gen2.possible, reasons=found.gen2.reasons)


def _disk(table: PartitionTable, size: int, found: facts.Facts | None) -> model.Disk:
    return disk(table, size, found.storage if found else None)


def _kernels(before: facts.Facts | None, after: facts.Facts | None) -> Iterator[model.Kernel]:
    if before is None or after is None:
        return
    old = {kernel.release: kernel for kernel in before.kernels}
    for kernel in after.kernels:
        was = old.get(kernel.release, kernel)
        yield model.Kernel(
            release=kernel.release,
            image=kernel.image,
            initramfs_before=_initramfs(was),
            initramfs_after=_initramfs(kernel),
            drivers=tuple(
                model.Driver(name=name, before=_place(was, name), after=_place(kernel, name))
                for name, _ in kernel.drivers
            ),
        )


def _initramfs(kernel: facts.Kernel) -> model.Initramfs | None:
    image = kernel.initramfs
    if image is None:
        return None
    return model.Initramfs(
        path=image.path, size=image.size, compression=image.compression, modules=len(image.modules)
    )


def _place(kernel: facts.Kernel, driver: str) -> str:
    state = kernel.driver(driver)
    if state is not facts.DriverState.MODULE:
        return str(state.value)
    return "initramfs" if kernel.initramfs and driver in kernel.initramfs.modules else "module"


def _package_changes(before: facts.Facts | None, after: facts.Facts | None) -> Iterator[model.PackageChange]:
    if before is None or after is None:
        return
    # Several versions of one name (kernels) are told together.
    old, new = _by_name(before), _by_name(after)
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield model.PackageChange(name=name, before=old.get(name), after=new.get(name))


def _by_name(found: facts.Facts) -> dict[str, str]:
    versions: dict[str, list[str]] = {}
    for package in found.packages:
        versions.setdefault(package.name, []).append(package.version)
    return {name: ", ".join(sorted(set(all_))) for name, all_ in versions.items()}


def _steps(items: Sequence[Item], requirements: Mapping[str, tuple[str, ...]]) -> Iterator[model.Step]:
    for name in dict.fromkeys(item.step for item in items):
        decisions = [item.decision for item in items if item.step == name]
        changes = [told(d) for d in decisions if not isinstance(d, Noop | Advice)]
        yield model.Step(
            name=name,
            requirements=requirements.get(name, ()),
            changes=tuple(
                model.Change.model_validate({"verb": c.verb, "what": c.what, "why": c.why}) for c in changes
            ),
            right=tuple(d.reason for d in decisions if isinstance(d, Noop)),
            advice=tuple(d.text for d in decisions if isinstance(d, Advice)),
        )


def _file(change: FileChange) -> model.FileChange:
    before, after = change.before, change.after
    cleared = after is None or (after.kind is Kind.FILE and not after.size)
    if change.step == _GENERALIZE and cleared:
        lines, why = None, "it belonged to the old machine"
    else:
        lines, why = _diff(before, after)
    return model.FileChange(
        path=change.path,
        step=change.step,
        why=change.reason,
        action="created" if before is None else "removed" if after is None else "changed",
        before=_state(before),
        after=_state(after),
        diff=lines,
        no_diff=why,
    )


def _diff(before: FileState | None, after: FileState | None) -> tuple[tuple[str, ...] | None, str]:
    sides = [state for state in (before, after) if state is not None]
    hidden = next((state.hidden for state in sides if state.hidden), "")
    if hidden:
        return None, hidden
    if all(state.text is None for state in sides):
        return None, "no file"
    old, new = ((state.text or "") if state else "" for state in (before, after))
    if old == new:
        return None, "its text is as it was"
    return diff(old, new)


def _state(state: FileState | None) -> model.FileState | None:
    if state is None:
        return None
    return model.FileState(
        kind=state.kind.value,
        mode=f"{state.mode:04o}",
        uid=state.uid,
        gid=state.gid,
        size=state.size,
        sha256=state.sha256,
        target=state.target or None,
    )


def _next(diary: Diary) -> tuple[model.NextStep, ...]:
    output, after = _output(diary), diary.after
    if output is None or after is None or diary.profile is None:
        return ()
    found = after.generations
    image = azure.image(
        output.path, output.file_size, found, after.kernels, generalized=diary.profile.generalized
    )
    return azure.next_steps(image, both=found is not None and found.gen1.possible and found.gen2.possible)


def _failure(diary: Diary) -> model.Failure | None:
    error = diary.error
    if error is None:
        return None
    return model.Failure(
        phase=diary.failed_in,
        exit_code=ExitCode(error.exit_code).value,
        message=error.message,
        hint=error.hint,
        command=_command(diary),
        kept=str(diary.kept) if diary.kept else None,
    )


def _command(diary: Diary) -> model.GuestCommand | None:
    again = diary.reproduction
    if again is None:
        return None
    return model.GuestCommand(
        argv=again.command.argv,
        status=again.command.status,
        output=again.command.output,
        guestfish=guestfish_line(diary) or "",
    )


def guestfish_line(diary: Diary) -> str | None:
    """Return the shell line that runs the failed command again: on the kept work copy, else above the source."""
    again = diary.reproduction
    disk = diary.kept or (diary.source.path if diary.source else None)
    if again is None or disk is None or diary.source is None:
        return None
    if diary.kept is None and diary.source.format not in _BACKING:
        return None  # packed in another file: --keep-failed makes a disk of it that can be opened
    return guestfish.line(
        Path(disk),
        again.places,
        again.command.argv,
        backing=None if diary.kept else _BACKING.get(diary.source.format),
        network=again.network,
        emulated=diary.accelerator == "TCG",
        opened=again.opened,
    )
