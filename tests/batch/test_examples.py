"""The examples for other schedulers: exit codes, memory and options are those of the program."""

from __future__ import annotations

import yaml

from imgfix.batch import budget
from imgfix.batch.result import Failure, failure_of
from imgfix.cli import cli
from imgfix.errors import ExitCode
from tests.guests.workshop import ROOT

JOB = yaml.safe_load((ROOT / "docs/examples/kubernetes-job.yaml").read_text())["spec"]


def test_kubernetes_gives_up_what_is_permanent_and_nothing_else() -> None:
    (rule,) = (rule for rule in JOB["podFailurePolicy"]["rules"] if rule["action"] == "FailIndex")
    permanent = {int(code) for code in ExitCode if code and failure_of(code) is Failure.PERMANENT}
    # the codes of one image: a batch of many has one more
    assert set(rule["onExitCodes"]["values"]) == permanent - {ExitCode.SOME_FAILED}


def test_kubernetes_gives_an_appliance_the_memory_that_it_may_take() -> None:
    (container,) = JOB["template"]["spec"]["containers"]
    assert budget.parse_size(container["resources"]["limits"]["memory"]) > budget.need(emulated=True)
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    containerfile = (ROOT / "Containerfile").read_text()
    assert "/scratch" in mounts
    assert "VOLUME /scratch" in containerfile
    known = {option for parameter in cli.commands["batch"].params for option in parameter.opts}
    assert {word for word in container["args"] if word.startswith("--")} <= known


def test_the_image_takes_all_that_the_build_needs() -> None:
    lines = (ROOT / "Containerfile").read_text().splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY")]
    for name in (name for names in copied for name in names):
        assert (ROOT / name).exists(), name
