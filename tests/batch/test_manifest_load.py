"""Manifests: what rows and patterns make, and errors that point at the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgfix.batch import manifest_load
from imgfix.batch.manifest import Options
from imgfix.errors import UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with disks in it, which nobody opens here."""
    for name in ("in/web1.raw", "in/web2.raw", "in/db.example.com", "in/.hidden.raw", "out/old.raw"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def load(folder: Path, text: str, *settings: str, given: Options | None = None) -> manifest_load.Batch:
    """Load a manifest of this text."""
    (folder / "m.yaml").write_text(text)
    return manifest_load.load(folder / "m.yaml", given or Options(), settings)


def refused(folder: Path, text: str, *words: str) -> None:
    """The manifest is refused, with all of `words`."""
    with pytest.raises(UsageError) as error:
        load(folder, text)
    for word in words:
        assert word in error.value.message


HEAD = "profile: rhel\noutput: out\nimages:\n"


def test_patterns_rows_and_defaults(folder: Path) -> None:
    batch = load(
        folder,
        "profile: rhel\noutput: out\ndefaults:\n  set: {swap.size_mib: 1}\n  mode: generalized\nimages:\n"
        "  - in/*\n  - image: in/web2.raw\n    mode: specialized\n    set: {swap.resource_disk: none}\n"
        "    network: false\n    output: two/w.vhd\n  - in/missing.raw\n",
    )
    assert [image.name for image in batch.images] == [
        "db.example.com.vhd",
        "web1.vhd",
        "w.vhd",
        "missing.vhd",
    ]
    assert [image.index for image in batch.images] == [0, 1, 2, 3]
    web1, web2 = batch.images[1:3]
    assert web1.arguments(force=False) == (
        *("apply", "rhel", str(folder / "in/web1.raw"), "-o", str(folder / "out/web1.vhd")),
        *("--set", "swap.size_mib=1", "--mode", "generalized"),
        *("--report", str(folder / "out/imgfix-batch/web1.vhd.report.html"), "--progress", "plain"),
    )
    assert web2.arguments(force=True) == (
        *("apply", "rhel", str(folder / "in/web2.raw"), "-o", str(folder / "out/two/w.vhd")),
        *("--set", "swap.size_mib=1", "--set", 'swap.resource_disk="none"', "--mode", "specialized"),
        *("--no-network", "--report", str(folder / "out/imgfix-batch/w.vhd.report.html")),
        *("--progress", "plain", "--force"),
    )
    assert batch.results == folder / "out/imgfix-batch"


def test_the_command_line_goes_on_top(folder: Path) -> None:
    given = Options(mode="specialized", keys=("/k",))
    batch = load(
        folder, HEAD + "  - {image: in/web1.raw, mode: generalized}\n", "swap.size_mib=7", given=given
    )
    assert batch.images[0].arguments(force=False)[5:-4] == (
        *("--set", "swap.size_mib=7", "--mode", "specialized", "--key", "/k"),
    )


def test_a_profile_beside_the_manifest_is_meant(folder: Path) -> None:
    (folder / "rhel.yaml").write_text("extends: rhel\n")
    assert load(folder, "profile: rhel.yaml" + HEAD[13:] + "  - in/web1.raw\n").images[0].profile == str(
        folder / "rhel.yaml"
    )
    assert load(folder, HEAD + "  - in/web1.raw\n").images[0].profile == "rhel"


def test_outputs_are_no_images(folder: Path) -> None:
    names = [image.source.name for image in load(folder, HEAD + "  - '**/*.raw'\n").images]
    assert names == ["web1.raw", "web2.raw"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("output: is needed and missing", "images: is needed")),
        ("images: [x]\noutput: out\nimages: [y]\n", ("m.yaml:3:1: images: duplicate key",)),
        (HEAD + "  - in/*.qcow2\n", ("m.yaml:4:5: in/*.qcow2: there is no such file",)),
        (HEAD + "  - image: in/web1.raw\n    modes: x\n", ("m.yaml:5:5: images[0].modes: unknown key",)),
        (HEAD + "  - image: in/web1.raw\n    network: no\n", ("m.yaml:5:5", "true or false is needed")),
        (HEAD + "  - {image: in/web1.raw, set: {swap.sizes: 1}}\n", ("m.yaml:4:5: web1.raw", "unknown key")),
        (HEAD + "  - {image: in/web1.raw, profile: rhell}\n", ("m.yaml:4:5: web1.raw: rhell: no such profile",)),
        ("output: out\nimages: [in/web1.raw]\n", ("m.yaml:2:10: web1.raw: no profile is given",)),
        (HEAD + "  - {image: in/web*.raw, output: x.vhd}\n", ("images[0].output", "names 2 images")),
        (
            HEAD + "  - in/web1.raw\n  - {image: in/web2.raw, output: web1.vhd}\n",
            ("m.yaml:5:5: web2.raw and web1.raw (", "m.yaml:4:5", "have the same output", "out/web1.vhd"),
        ),
        (HEAD + "  - in/web1.raw\n  - {image: in/web2.raw, output: x/web1.vhd}\n", ("have the same name: web1.vhd",)),
        (HEAD + "  - in/web1.raw\n  - {image: in/web2.raw, output: ../in/web1.raw}\n", ("is itself an image",)),
    ],
)  # fmt: skip
def test_errors_say_where(folder: Path, text: str, words: tuple[str, ...]) -> None:
    refused(folder, text, *words)


def test_what_is_no_manifest(folder: Path) -> None:
    for path, word in (
        (folder / "in", "is a folder"),
        (folder / "none.yaml", "no such manifest"),
        (folder / "large", "can be a manifest"),
        (folder / "binary", "not UTF-8"),
    ):
        if path.name == "large":
            path.write_bytes(bytes(9 << 20))
        elif path.name == "binary":
            path.write_bytes(b"\xff\xfe")
        with pytest.raises(UsageError, match=word):
            manifest_load.load(path)


def test_a_folder(folder: Path) -> None:
    batch = manifest_load.from_folder("auto", folder / "in", folder / "new", Options(), ("swap.size_mib=7",))
    assert [(i.source.name, i.output) for i in batch.images] == [
        ("web1.raw", folder / "new/web1.vhd"),
        ("web2.raw", folder / "new/web2.vhd"),
    ]
    assert batch.images[0].settings == ("swap.size_mib=7",)
    for source, output, word in (
        (folder / "none", folder, "is no folder"),
        (folder / "in", folder / "in", "would lie among the images"),
        (folder, folder / "new", "no disk image in it"),
    ):
        with pytest.raises(UsageError, match=word):
            manifest_load.from_folder("auto", source, output)
