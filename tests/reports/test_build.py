"""The report as JSON: what is in it, and that it is what its schema says."""

from __future__ import annotations

import json

import jsonschema
import pytest

from imgfix import published
from imgfix.diary import Diary
from imgfix.profile import Profile
from imgfix.reports.build import profile_digest
from imgfix.reports.model import VERSION
from imgfix.reports.write import as_json
from tests.reports import sample


@pytest.mark.parametrize(
    "diary", [sample.diary(), sample.failed(), Diary()], ids=["ready", "failed", "nothing"]
)
def test_json_is_what_the_schema_says(diary: Diary) -> None:
    text = as_json(sample.report(diary))
    assert text.isascii(), "a terminal that shows it is not driven by a guest's text"
    schema = json.loads(published.schema("report"))
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    validator.check_schema(schema)
    validator.validate(json.loads(text))
    assert schema["$id"] == f"urn:imgfix:report:{VERSION}"
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(json.loads(text) | {"version": VERSION + 1})


def test_what_a_report_tells() -> None:
    report = sample.report(sample.diary())
    assert report.outcome == "ready"
    assert report.output is not None
    assert report.output.file_size == report.output.size + 512
    assert [(p.name, p.before, p.after) for p in report.package_changes] == [("waagent", None, "2.9")]
    (kernel,) = report.kernels
    assert [(d.before, d.after) for d in kernel.drivers] == [("module", "initramfs")]
    swap = next(step for step in report.steps if step.name == "swap")
    assert (swap.requirements, swap.changes[0].what) == (("R7",), "/etc/fstab")
    assert [step.right for step in report.steps if step.name == "lvm"] == [("there is no LVM",)]
    assert report.secrets == (
        f"private keys stay: /root/{sample.EVIL.replace(chr(0xDCFF), chr(92) + 'xff')}",
    )
    assert [phase.name for phase in report.phases] == ["copy", "verify", "apply", "verify"]


def test_changed_files_have_their_diff_and_digests() -> None:
    files = {file.path: file for file in sample.report(sample.diary()).files}
    fstab = files["/etc/fstab"]
    assert fstab.diff == (
        "@@ -1,2 +1 @@",
        " UUID=1 / ext4 defaults 0 1",
        "-/swap none swap sw 0 0",
        "\\ No newline at end of file",
    )
    assert fstab.before is not None
    assert fstab.after is not None
    assert fstab.before.sha256 != fstab.after.sha256
    binary = files["/var/log/binary"]
    assert (binary.action, binary.diff, binary.no_diff) == ("removed", None, "no text")


def test_what_generalizing_took_away_does_not_live_on_in_the_report() -> None:
    report = sample.report(sample.diary())
    (log,) = [file for file in report.files if file.step == "generalize"]
    assert (log.action, log.diff, log.no_diff) == ("removed", None, "it belonged to the old machine")


def test_what_others_may_not_read_is_not_in_the_report() -> None:
    report = sample.report(sample.diary())
    shadow = next(file for file in report.files if file.path == "/etc/shadow")
    assert (shadow.diff, shadow.no_diff) == (None, "others may not read it")
    assert shadow.before is not None
    assert shadow.before.sha256 is None, "a digest of a short secret can be guessed back"
    assert "$6$secret" not in as_json(report)


def test_a_failed_apply_tells_where_and_how_to_repeat_it() -> None:
    report = sample.report(sample.failed())
    assert (report.outcome, report.output, report.next) == ("failed", None, ())
    assert report.failure is not None
    assert (report.failure.phase, report.failure.exit_code, report.failure.hint) == ("apply", 5, "try it")
    assert report.failure.command is not None
    assert report.failure.command.status == 7
    assert "exit 7" in report.failure.command.guestfish


def test_the_digest_of_a_profile_is_that_of_its_settings() -> None:
    one, other = Profile(name="test"), Profile(name="test", description="other")
    assert profile_digest(one) == profile_digest(Profile(name="test"))
    assert profile_digest(one) != profile_digest(other)


def test_every_requirement_has_its_verdict() -> None:
    verdicts = {verdict.id: verdict for verdict in sample.report(sample.diary()).requirements}
    assert "R11" not in verdicts, "the host's qemu-img is no matter of the image"
    assert (verdicts["R7"].outcome, verdicts["R7"].changes[0].what) == ("changed", "/etc/fstab")
    assert (verdicts["R5"].outcome, verdicts["R5"].right) == ("right", ("there is no LVM",))
    assert (verdicts["R9"].outcome, len(verdicts["R9"].advice)) == ("changed", 1)
    assert verdicts["R1"].right[0] == "written as a fixed VHD, its footer checked"
    assert all(verdict.right or verdict.changes or verdict.advice for verdict in verdicts.values())
    assert sample.report(sample.failed()).requirements == ()
