"""What grub-mkconfig makes of a guest's defaults, as far as the kernel command line goes.

After `linux_entry` in https://github.com/rhboot/grub2/blob/master/util/grub.d/10_linux.in: root= and ro, then
GRUB_CMDLINE_LINUX, then GRUB_CMDLINE_LINUX_DEFAULT except in recovery entries. EL 7's writes the commands of
BIOS, which the appliance has. The menu's terminal and time-out come from 00_header.
"""

from __future__ import annotations

import re

from imgfix import tree as files
from imgfix.facts import devices
from imgfix.facts.model import Storage
from imgfix.textedit import grubcfg, shellvars
from imgfix.textedit.grubcfg import LinuxLine
from tests.fake_tree import FakeTree


def regenerated(tree: FakeTree, path: str, storage: Storage) -> str:
    """Return grub.cfg at `path` with its kernel command lines made again from the defaults and the root's UUID."""
    values: dict[str, str] = {}
    for source in ("/etc/default/grub", *files.glob(tree, "/etc/default/grub.d/*.cfg")):
        if files.is_file(tree, source):
            _run(files.read_text(tree, source), values)

    found = storage.holding("/")
    by_name = values.get("GRUB_DISABLE_LINUX_UUID") == "true"
    root = "root=/dev/sda1" if by_name or found is None else f"root=UUID={found.uuid}"

    def arguments(line: LinuxLine) -> str:
        kept = [root if _is_disk(a) else a for a in line.args.split() if _is_generated(a)]
        last = "" if "single" in kept else values.get("GRUB_CMDLINE_LINUX_DEFAULT", "")
        return " ".join([*kept, values.get("GRUB_CMDLINE_LINUX", ""), last])

    text = grubcfg.map_linux(files.read_text(tree, path), arguments)
    return _header(values) + re.sub(r"(?m)^([ \t]*(?:linux|initrd))efi\b", r"\g<1>16", text)


def _header(values: dict[str, str]) -> str:
    """Return what 00_header writes about terminals and the time-out, as far as it is set at all."""
    both = values.get("GRUB_TERMINAL", "")
    sides = {s: both or values.get(f"GRUB_TERMINAL_{s.upper()}", "") for s in ("input", "output")}
    lines = [f"terminal_{side} {words}\n" for side, words in sides.items() if words]
    if any("serial" in words.split() for words in sides.values()):
        lines.insert(0, values.get("GRUB_SERIAL_COMMAND", "serial") + "\n")
    if seconds := values.get("GRUB_TIMEOUT"):
        lines.append(f"set timeout={seconds}\n")
    return "".join(lines)


def _is_disk(argument: str) -> bool:
    return argument.startswith("root=") and devices.names_disk(argument.removeprefix("root="))


def _is_generated(argument: str) -> bool:
    return argument.startswith("root=") or argument in ("ro", "single")


def _run(text: str, values: dict[str, str]) -> None:
    """Take the assignments of a shell text in, variables expanded."""
    for one in shellvars.assignments(text):
        value = re.sub(r"\$\{?(\w+)\}?", lambda m: values.get(m[1], ""), one.value)
        values[one.name] = values.get(one.name, "") + value if one.append else value
