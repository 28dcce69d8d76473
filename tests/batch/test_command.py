"""`imgfix batch` as it is called, with images that are refused before an appliance is needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.guests.workshop import Run, imgfix

MANIFEST = "profile: debian\noutput: out\nimages: ['in/*.raw']\n"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Two blank disks and a manifest of them."""
    folder = tmp_path / "work"
    (folder / "in").mkdir(parents=True)
    for name in ("a", "b"):
        with (folder / f"in/{name}.raw").open("wb") as stream:
            stream.truncate(64 << 20)
    (folder / "m.yaml").write_text(MANIFEST)
    return folder


def events(run: Run) -> list[tuple[str, str]]:
    return [(e["event"], e["image"]) for e in map(json.loads, run.stdout.splitlines())]


def test_none_done_is_told_and_kept(work: Path, tmp_path: Path) -> None:
    run = imgfix("batch", work / "m.yaml", folder=tmp_path / "run")
    assert (run.status, run.launches) == (5, 0), run.stderr
    assert sorted(events(run)) == [(k, i) for k in ("begin", "end") for i in ("a.vhd", "b.vhd")]
    names = sorted(path.name for path in (work / "out/imgfix-batch").iterdir())
    kinds = ("json", "log", "report.html")
    assert names == [*(f"{image}.vhd.{kind}" for image in "ab" for kind in kinds), "summary.html"]
    assert "error: " in (work / "out/imgfix-batch/a.vhd.log").read_text()
    assert [path.name for path in (work / "out").iterdir()] == ["imgfix-batch"]
    again = imgfix("batch", work / "m.yaml", folder=tmp_path / "run")
    assert again.status == 5
    assert sorted(events(again)) == [("skipped", "a.vhd"), ("skipped", "b.vhd")]


def test_one_by_its_number_has_the_exit_code_of_its_apply(work: Path, tmp_path: Path) -> None:
    for words, variable in ((("--index", "1"), ""), (("--index",), "JOB_COMPLETION_INDEX")):
        environment = {variable: "1"} if variable else {}
        run = imgfix("batch", work / "m.yaml", *words, folder=tmp_path / "run", environment=environment)
        assert run.status == 3, run.stderr
        assert {name for _, name in events(run)} == {"b.vhd"}
    for number, word in (("2", "images 0 to 1"), ("x", "SLURM_ARRAY_TASK_ID x")):
        environment = {"SLURM_ARRAY_TASK_ID": number}
        run = imgfix("batch", work / "m.yaml", "--index", folder=tmp_path / "run", environment=environment)
        assert run.status == 2
        assert word in run.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("m.yaml", "--index"), "needs JOB_COMPLETION_INDEX or SLURM_ARRAY_TASK_ID"),
        (("debian", "in"), "MANIFEST, or PROFILE DIR OUTDIR are needed, given: debian"),
        (("m.yaml", "--memory", "much"), "--memory much: a size is needed"),
        (("m.yaml", "--set", "swap.sizes=1"), "unknown key"),
    ],
)
def test_wrong_calls(work: Path, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    arguments = [str(work / word) if word in ("m.yaml", "in") else word for word in words]
    run = imgfix("batch", *arguments, folder=tmp_path / "run")
    assert run.status == 2, run.stderr
    assert message in run.stderr


def test_too_little_memory_says_both_numbers(work: Path, tmp_path: Path) -> None:
    run = imgfix("batch", work / "m.yaml", "--memory", "1GiB", folder=tmp_path / "run")
    assert run.status == 4
    assert "1 GiB (1073741824 bytes) of memory for the batch" in run.stderr
    assert not (work / "out").exists()


def test_the_list(work: Path, tmp_path: Path) -> None:
    run = imgfix("batch", "debian", work / "in", work / "new", "--list", folder=tmp_path / "run")
    rows = [line.split("\t") for line in run.stdout.splitlines()]
    assert rows == [
        [str(n), str(work / f"in/{name}.raw"), str(work / f"new/{name}.vhd"), "debian"]
        for n, name in enumerate("ab")
    ]
