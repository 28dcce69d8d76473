"""A guest that means harm: nothing of it drives the terminal or the page, and nothing of it fills the memory."""

from __future__ import annotations

import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.disks import phony
from tests.guests.workshop import ROOT, Run, imgfix

pytestmark = [pytest.mark.appliance, pytest.mark.xdist_group("volumes")]

MIB, GIB = 1 << 20, 1 << 30
#: Most memory (KiB) that imgfix itself may ever have had; the appliance is QEMU's.
MOST_KIB = 200 << 10

RED = "\x1b[31m\x1b]0;owned\x07"
TAG = "<img src=x onerror=alert(1)>"
#: Turns the direction of what follows it (https://www.unicode.org/reports/tr9/).
TURNED = "\u202egnp.exe"
NAMES = (
    f"{RED}.log",
    f"{TAG}.log",
    f"{TURNED}.log",
    "</script><script>alert(1)</script>".replace("/", "\u2215"),
)

PROFILE = """\
extends: azure
name: hostile
packages: {missing: warn}
generalize: {remove: [/var/hostile/*]}
"""
BLS = "title Linux\nversion 1\nlinux /vmlinuz\noptions root=UUID=1 quiet note="

#: Tells the most memory that the process ever had, when it ends.
_WATCH = """\
import atexit, os, re
@atexit.register
def tell():
    with open("/proc/self/status") as status, open(os.environ["PEAK"], "w") as peak:
        peak.write(re.search(r"VmHWM:\\s+(\\d+)", status.read())[1])
"""


def _disk(folder: Path, files: dict[str, bytes], **sparse: int) -> Path:
    """Make a GPT disk with one ext4 root; `sparse` are files of that many zeros, `__` for a slash."""
    root = phony.lay(folder / "root", phony.system(f"{RED}{TAG}", ""))
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for name, size in sparse.items():
        with (root / name.replace("__", "/")).open("wb") as stream:
            stream.truncate(size)
    disk = folder / "d.raw"
    with disk.open("wb") as stream:
        stream.truncate(96 * MIB)
    argv = ("sgdisk", "--new=1:1M:+90M", f"--change-name=1:{TAG}", str(disk))
    subprocess.run(argv, check=True, capture_output=True)
    where = f"offset={MIB}"
    make = ("mkfs.ext4", "-q", "-F", "-L", "<b>root", "-d", str(root), "-E", where, str(disk), f"{90 << 10}k")
    subprocess.run(make, check=True, capture_output=True)
    phony.plant_boot_code(disk)
    (folder / "p.yaml").write_text(PROFILE)
    return disk


def _run(disk: Path, *arguments: str) -> tuple[Run, int]:
    """Apply the profile; returns the run and imgfix's peak of memory in KiB."""
    folder = disk.parent
    watch = folder / "watch"
    watch.mkdir()
    (watch / "sitecustomize.py").write_text(_WATCH)
    environment = {"PYTHONPATH": f"{watch}:{ROOT}", "PEAK": str(folder / "peak")}
    run = imgfix("apply", folder / "p.yaml", disk, *arguments, folder=folder / "run", environment=environment)
    return run, int((folder / "peak").read_text())


class _Page(HTMLParser):
    """Gathers what a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def require_harmless(text: str) -> None:
    """No control character but the end of a line, and none that turns the writing's direction."""
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


def test_names_and_texts_of_a_hostile_guest_are_told_and_do_nothing(tmp_path: Path) -> None:
    files = {f"var/hostile/{name}": b"x\n" for name in NAMES}
    files |= {
        "etc/default/grub": b'GRUB_CMDLINE_LINUX="quiet \xff\xfe"\n# \x1b[2J\n',
        "boot/loader/entries/one.conf": BLS.encode() + b"\xff\x1b[2J\n",
        "etc/cloud/cloud.cfg": b"# <script>alert(1)</script>\ncloud_init_modules:\n - seed_random\n",
        "var/hostile/\udcff\udcfe": b"x",
    }
    disk = _disk(tmp_path, files)
    run, peak = _run(disk, "--report", "r.html", "--report", "r.json")
    assert run.status == 0, run.stderr
    assert peak < MOST_KIB
    require_harmless(run.stdout + run.stderr)
    page = (tmp_path / "run/r.html").read_text()
    require_harmless(page)
    made_of = _Page(page)
    assert not made_of.tags & {"script", "img", "iframe", "link", "object", "form"}
    assert not [name for name in made_of.attributes if name.startswith("on") or name in ("src", "style")]
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    report = json.loads((tmp_path / "run/r.json").read_text())
    removed = {file["path"] for file in report["files"] if file["action"] == "removed"}
    assert {f"/var/hostile/{name}" for name in NAMES} <= removed
    assert report["guest"]["pretty_name"].endswith(f"{RED}{TAG})")
    assert (tmp_path / "run/r.json").read_text().isascii()


def test_a_file_of_a_gigabyte_is_refused_unread(tmp_path: Path) -> None:
    run, peak = _run(_disk(tmp_path, {}, etc__fstab=GIB), "--report", "r.html", "--progress", "json")
    assert run.status == 3, run.stderr
    events = [json.loads(line) for line in run.stderr.splitlines()]
    assert events[-1]["event"] == "error"
    assert f"/etc/fstab: {GIB} bytes" in events[-1]["text"]
    assert peak < MOST_KIB
    page = (tmp_path / "run/r.html").read_text()
    assert f"/etc/fstab: {GIB} bytes" in page
    assert "Not published" in page
