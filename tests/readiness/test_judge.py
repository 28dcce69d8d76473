"""The verdict of a preview: blockers beside fixes, what waits for packages, private texts, JSON and terminal."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from rich.console import Console

from imgfix import published
from imgfix.change import Advice, InstallPackages
from imgfix.difference import differences
from imgfix.disk.finished import Fault
from imgfix.disk.formats import Format
from imgfix.disk.partition import Partition, PartitionTable
from imgfix.disk.source import Source, Stamp
from imgfix.errors import GuestError, ImageError
from imgfix.facts.model import Generations, Verdict
from imgfix.plan import Item, Plan, Refusal, survey
from imgfix.preview import Preview, Trouble
from imgfix.readiness import view
from imgfix.readiness.judge import judge
from imgfix.readiness.model import Readiness, Requirement, Status
from imgfix.steps import STEPS
from tests import case as cases
from tests.fake_tree import FakeEntry, FakeTree

SIZE = 64 << 20
TABLE = PartitionTable("gpt", None, True, (Partition(1, 1 << 20, 32 << 20, "0x83", ""),))
#: What a hostile guest may have in a file name: an escape sequence, markup of rich, a byte that is no UTF-8.
EVIL = "\x1b]0;owned\x07[bold]\udcff"


def _preview(tmp_path: Path, files: dict[str, str | FakeEntry] | None = None) -> Preview:
    return preview(tmp_path, files)[0]


def preview(tmp_path: Path, files: dict[str, str | FakeEntry] | None = None) -> tuple[Preview, FakeTree]:
    """A whole guest of the cases, planned as apply does; all that is wrong with its file is that it is raw."""
    path = next(p for p in cases.paths() if (p.parent.name, p.stem) == ("whole", "debian12"))
    case = cases.read(path, tmp_path)
    tree = FakeTree({**case.tree._entries, **(files or {})}) if files else case.tree
    profile = cases._profile("debian", ("packages.missing=warn",), tmp_path)
    plan, refusals = survey(STEPS, profile, case.facts, tree)
    boots = Verdict(True, ("boot code",))
    facts = replace(case.facts, generations=Generations(boots, Verdict(False, ("no ESP",))))
    source = Source(Path("disk.raw"), Format.RAW, SIZE, None, TABLE, Stamp(0, 0, SIZE, 0))
    found = Preview(
        source=source,
        profile=profile,
        facts=facts,
        plan=plan,
        differences=differences(plan, tree),
        refusals=refusals,
        pending=(),
        warnings=(),
        troubles=(),
        faults=(Fault("R1", "it is no VHD: there is no footer"),),
    )
    return found, tree


def _of(readiness: Readiness, name: str) -> Requirement:
    return next(r for r in readiness.requirements if r.id == name)


def _shown(readiness: Readiness, *, verbose: bool = False) -> str:
    stream = io.StringIO()
    view.show(Console(file=stream, force_terminal=False, width=200), readiness, verbose=verbose)
    return stream.getvalue()


def test_what_apply_fixes_is_told_with_its_place(tmp_path: Path) -> None:
    readiness = judge(_preview(tmp_path))
    assert (readiness.ready, readiness.fixable) == (False, True)
    grub = next(f for f in _of(readiness, "R14").findings if f.target == "/etc/default/grub")
    (seen,) = grub.evidence
    assert grub.status is Status.FIXED
    assert seen.name == "/etc/default/grub"
    assert seen.line is not None
    assert "GRUB_CMDLINE" in seen.detail
    assert [v.boots for v in readiness.generations] == [True, False]
    assert _of(readiness, "R4").status is Status.READY
    assert _of(readiness, "R25").status is Status.FIXED


def test_json_is_what_the_schema_says(tmp_path: Path) -> None:
    data = json.loads(judge(_preview(tmp_path)).model_dump_json())
    schema = json.loads(published.schema("readiness"))
    jsonschema.Draft202012Validator(schema).validate(data)
    assert (data["format"], data["version"]) == ("imgfix-readiness", 1)
    assert schema["$id"] == "urn:imgfix:readiness:1"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**data, "version": 2}, schema)


def test_nothing_left_is_ready(tmp_path: Path) -> None:
    found = _preview(tmp_path)
    items = tuple(item for item in found.plan.items if item not in found.plan.changes)
    done = judge(replace(found, plan=replace(found.plan, items=items), differences=(), faults=()))
    assert done.ready
    assert not done.of_status(Status.FIXED)
    assert "ready for Azure" in _shown(done)


def test_all_blockers_are_told_at_once(tmp_path: Path) -> None:
    found = _preview(tmp_path)
    error = GuestError(
        "kernel_modules: kernel 3.1 has no hv_vmbus; it cannot run on Hyper-V", hint="another kernel"
    )
    broken = GuestError("grub: /boot/grub/grub.cfg:7: a quote is not closed")
    small = Trouble("R4", ImageError("the disk has 1 MiB", hint="make it larger"))
    items = tuple(i for i in found.plan.items if i.step not in ("kernel_modules", "grub"))
    readiness = judge(
        replace(
            found,
            plan=replace(found.plan, items=items),
            refusals=(Refusal("kernel_modules", error), Refusal("grub", broken)),
            troubles=(small,),
        )
    )
    assert not readiness.fixable
    assert {"R4", "R12", "R15"} <= {r.id for r in readiness.of_status(Status.BLOCKER)}
    # Nobody has looked: a step that stopped tells nothing of the rest.
    assert "not looked at" in _of(readiness, "R3").findings[0].text
    (place,) = _of(readiness, "R15").findings[0].evidence
    assert (place.name, place.line) == ("/boot/grub/grub.cfg", 7)
    assert "another kernel" in _shown(readiness)
    with pytest.raises(ImageError, match="1 MiB"):
        replace(found, troubles=(small,)).require_possible()


def test_what_waits_for_packages_is_no_blocker(tmp_path: Path) -> None:
    found = _preview(tmp_path)
    error = GuestError("services: ssh server: the guest has none of the units ssh.service", hint="install it")
    readiness = judge(replace(found, pending=(Refusal("services", error),)))
    assert readiness.fixable
    told = [f.text for f in _of(readiness, "R16").findings if f.status is Status.FIXED]
    assert told[-1:] == [
        "decided when the packages are installed; now ssh server: the guest has none of the units ssh.service"
    ]


def test_while_packages_are_to_be_installed_what_they_bring_is_not_judged(tmp_path: Path) -> None:
    found = _preview(tmp_path)
    install = Item("packages", InstallPackages("apt", ("waagent", "cloud-init"), "Azure needs them"))
    missing = Item("agent", Advice("the Azure Linux Agent is not installed: no VM extension will work"))
    items = tuple(item for item in found.plan.items if item.step not in ("cloud_init", "agent"))
    readiness = judge(replace(found, plan=Plan((install, missing, *items))))
    assert _of(readiness, "R13").status is Status.FIXED
    assert not [f for f in _of(readiness, "R13").findings if f.status is Status.ADVICE]
    for requirement in ("R20", "R21", "R23"):
        assert _of(readiness, requirement).status is Status.FIXED
        assert _of(readiness, requirement).findings[0].text == "decided when the packages are installed"


def test_texts_that_others_may_not_read_are_in_no_report(tmp_path: Path) -> None:
    shadow = FakeEntry("root:$6$secret$hash:1:0:99999:7:::\n", mode=0o640)
    readiness = judge(_preview(tmp_path, {"/etc/shadow": shadow}))
    assert any(f.target == "/etc/shadow" for f in _of(readiness, "R9").findings)
    assert "$6$secret" not in readiness.model_dump_json()


@pytest.mark.parametrize("verbose", [False, True])
def test_nothing_of_the_guest_reaches_a_terminal_raw(tmp_path: Path, verbose: bool) -> None:
    readiness = judge(_preview(tmp_path, {f"/var/log/{EVIL}.log": "x", "/etc/hostname": EVIL}))
    text = _shown(readiness, verbose=verbose)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert json.loads(readiness.model_dump_json())
