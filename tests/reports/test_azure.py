"""The commands for Azure, read by the shell that will run them."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from imgfix.facts.model import Generations, Kernel, Verdict
from imgfix.reports import azure
from imgfix.reports.model import NextStep

YES, NO = Verdict(True, ()), Verdict(False, ())


def steps(path: str = "/out/web.vhd", **options: object) -> tuple[NextStep, ...]:
    """Return the steps for an image; `gen1`, `gen2`, `release` and `generalized` may be given."""
    gen1, gen2 = (YES if options.get(name, True) else NO for name in ("gen1", "gen2"))
    kernel = Kernel(str(options.get("release", "6.1.0-1-amd64")), "/boot/vmlinuz", None, (), True)
    generalized = bool(options.get("generalized", True))
    found = azure.image(path, 1049088, Generations(gen1, gen2), (kernel,), generalized=generalized)
    return azure.next_steps(found, both=gen1.possible and gen2.possible)


def commands(**options: object) -> str:
    """Return all lines of the commands for an image."""
    return "\n".join(step.command for step in steps(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["/out/web.vhd", "/a b/it's $(rm -rf).vhd", "/x/\u00e9.vhd", "-o.vhd"])
@pytest.mark.parametrize("generalized", [True, False])
def test_the_shell_takes_them_apart_as_they_are_meant(path: str, generalized: bool) -> None:
    lines = commands(path=path, generalized=generalized)
    script = (
        'az() { printf "%s\\n" "$*" >&2; echo id-or-sas; }; azcopy() { printf "azcopy %s\\n" "$*" >&2; }\n'
        f"{lines}"
    )
    done = subprocess.run(("bash", "-eu", "-c", script), capture_output=True, text=True, check=True)
    told = done.stderr.splitlines()
    assert f"azcopy copy {path} id-or-sas --blob-type PageBlob" in told
    assert "--upload-type Upload --upload-size-bytes 1049088" in told[0]
    assert any(line.startswith("vm create") for line in told)


@pytest.mark.parametrize(
    ("gen1", "gen2", "word"), [(True, True, "V2"), (True, False, "V1"), (False, True, "V2")]
)
def test_the_generation_is_one_that_the_disk_boots_as(gen1: bool, gen2: bool, word: str) -> None:
    found = commands(gen1=gen1, gen2=gen2)
    assert f"--hyper-v-generation {word}" in found
    assert found.count("--hyper-v-generation") == found.count(f"--hyper-v-generation {word}") == 2


@pytest.mark.parametrize(
    ("release", "word"),
    [("5.14.0-1.el9.aarch64", "Arm64"), ("6.1.0-9-arm64", "Arm64"), ("6.1.0-9-amd64", "x64")],
)
def test_the_architecture_is_the_kernels(release: str, word: str) -> None:
    assert f"--architecture {word}" in commands(release=release)


def test_a_specialized_disk_is_attached_and_makes_no_image() -> None:
    found = commands(generalized=False)
    assert "--attach-os-disk" in found
    assert "az sig" not in found
    assert "--os-state Generalized" in commands(generalized=True)


@pytest.mark.parametrize(("path", "name"), [("/o/my web (1).vhd", "my-web-1"), ("/o/---.vhd", "image")])
def test_a_name_is_one_that_azure_takes(path: str, name: str) -> None:
    words = shlex.split(steps(path)[0].command)
    assert f"DISK={name}-os" in words
    assert f"VHD={path}" in words
