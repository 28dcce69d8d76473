"""GRUB legacy's menu: grub.conf, menu.lst. It is read at boot as it stands; nothing regenerates it.

Grammar: `get_line_from_config` and `skip_to` of GRUB 0.97 (stage2/stage2.c, stage2/cmdline.c,
https://git.savannah.gnu.org/cgit/grub.git/tree/?h=grub-legacy): a line is a command, blanks or equals signs, and
the rest; `#` in front makes a comment; a backslash at the end joins the next line, to a comment too. The rest of
`kernel` is options, a file, and the kernel command line, taken verbatim: GRUB knows no quotes.

Debian's update-grub makes entries again from comments (`# kopt=...`): they are command lines as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from imgfix.errors import ParseError
from imgfix.textedit import physical_lines

_KERNEL = re.compile(
    r"(?P<head>[ \t]*kernel[ \t=]+(?:--(?:type=[^ \t]+|no-mem-option)[ \t]+)*(?P<file>[^ \t]+))"
    r"(?P<gap>[ \t]*)(?P<args>.*?)(?P<tail>[ \t]*)",
    re.DOTALL,
)
_IS_KERNEL = re.compile(r"[ \t]*kernel(?:[ \t=]|\Z)")
_MAGIC_BLOCK = "### BEGIN AUTOMAGIC KERNELS LIST"
_MAGIC = re.compile(
    r"(?P<head>[ \t]*#[ \t]*(?P<name>kopt(?:_[0-9_]+)?|defoptions)=)(?P<args>.*?)(?P<tail>[ \t]*)", re.DOTALL
)
_COMMAND = re.compile(r"[ \t]*([a-z]+)(?=[ \t=]|\Z)[ \t=]*(.*)", re.DOTALL)

#: Commands of the menu as a whole that stand above the entries; ours go behind the last of them.
_SETTINGS = frozenset({"default", "timeout", "fallback", "hiddenmenu", "splashimage", "gfxmenu", "color"})
#: Graphics: GRUB would talk to the screen and the serial port by turns.
#: https://tldp.org/HOWTO/Remote-Serial-Console-HOWTO/configure-boot-loader-grub.html
_GRAPHICS = ("splashimage", "gfxmenu", "hiddenmenu")
#: Seconds that `terminal` waits for a key before it takes the first one named; without it, it waits for ever.
_TERMINAL = "terminal --timeout=5 serial console"


class Kind(Enum):
    """Where a command line stands: in an entry, or in a comment from which update-grub makes entries."""

    ENTRY = "kernel"
    ALL_ENTRIES = "kopt"
    NORMAL_ENTRIES = "defoptions"


@dataclass(frozen=True, slots=True)
class KernelLine:
    """One kernel command line. `line` is 1-based; `kernel` is the file as written, "" in a comment."""

    line: int
    kind: Kind
    kernel: str
    args: str


def kernel_lines(text: str) -> tuple[KernelLine, ...]:
    """Return the command lines, in order. Raises ParseError on a `kernel` without a file or on two lines."""
    return tuple(line for _, line, _ in _kernels(physical_lines.split(text), text))


def map_kernels(text: str, fn: Callable[[KernelLine], str]) -> str:
    """Return `text` with the arguments of each kernel line as `fn` gives them; all else stays.

    Raises ParseError as `kernel_lines` does, and with the line where `fn` does; ValueError if `fn` returns more
    than one line.
    """
    lines = physical_lines.split(text)
    for index, found, match in _kernels(lines, text):
        try:
            new = fn(found)
        except ParseError as error:
            raise ParseError(error.message, line=found.line, hint=error.hint) from error
        if new == found.args:
            continue
        new = new.strip(" \t")
        if "\r" in found.args:
            raise ParseError("GRUB menu: a carriage return inside a kernel command line", line=found.line)
        if "\n" in new or "\r" in new:
            raise ValueError(f"not one line of kernel arguments: {new!r}")
        gap = "" if found.kind is not Kind.ENTRY else match["gap"] or " "
        end = physical_lines.body_and_end(lines[index])[1]
        lines[index] = match["head"] + (gap + new if new else "") + match["tail"] + end
    return "".join(lines)


def with_serial(text: str, port: int) -> str:
    """Return `text` so that the menu is shown on serial port `port` (0 is COM1) as well as on the screen.

    What draws or hides the menu (splashimage, gfxmenu, hiddenmenu) becomes a comment. Raises ParseError where a
    line that is to change goes on in the next one.
    """
    lines = physical_lines.split(text)
    present = set()
    for index, name, rest in _global(lines):
        if name in _GRAPHICS:
            lines[index] = "#" + lines[index]
        elif name == "serial":
            present.add(name)
            if unit(rest) != port:
                lines[index] = _replaced(lines, index, _serial(port))
        elif name == "terminal":
            present.add(name)
            if "serial" not in rest.split():
                lines[index] = _replaced(lines, index, _TERMINAL)
    for name, body in (("serial", _serial(port)), ("terminal", _TERMINAL)):
        if name not in present:
            lines = _inserted(lines, body, physical_lines.newline(text))
    return "".join(lines)


def with_timeout(text: str, seconds: int) -> str:
    """Return `text` with a `timeout` of so many seconds; the last one counts. Raises ParseError as `with_serial`."""
    lines = physical_lines.split(text)
    found = [(index, rest) for index, name, rest in _global(lines) if name == "timeout"]
    if not found:
        return "".join(_inserted(lines, f"timeout={seconds}", physical_lines.newline(text)))
    index, rest = found[-1]
    if rest.split()[:1] != [str(seconds)]:
        lines[index] = _replaced(lines, index, f"timeout={seconds}")
    return "".join(lines)


def unit(command: str) -> int | None:
    """Return the port of a `serial` command, 0 being COM1; None where it names an I/O address. As in GRUB 2."""
    if match := re.search(r"--unit[= ]([0-9]+)", command):
        return int(match[1])
    return None if "--port" in command else 0


def _kernels(lines: list[str], text: str) -> Iterator[tuple[int, KernelLine, re.Match[str]]]:
    """Yield index, line and match of each command line."""
    has_magic = _MAGIC_BLOCK in text
    for index, body in _starts(lines):
        if has_magic and (match := _MAGIC.fullmatch(body)):
            kind = Kind.NORMAL_ENTRIES if match["name"] == "defoptions" else Kind.ALL_ENTRIES
            yield index, KernelLine(index + 1, kind, "", match["args"]), match
        elif _IS_KERNEL.match(body):
            match = _KERNEL.fullmatch(body)
            if match is None:
                raise ParseError("GRUB menu: kernel without a file", line=index + 1)
            if _continues(lines[index]):
                raise ParseError("GRUB menu: a kernel command that goes on in the next line", line=index + 1)
            yield index, KernelLine(index + 1, Kind.ENTRY, match["file"], match["args"]), match


def _starts(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield index and text of each physical line that begins a command or a comment."""
    continued = False
    for index, line in enumerate(lines):
        if not continued:
            yield index, physical_lines.body_and_end(line)[0]
        continued = _continues(line)


def _continues(line: str) -> bool:
    return line.endswith("\n") and _ends_open(line)


def _ends_open(line: str) -> bool:
    body = line.rstrip("\r\n")
    return (len(body) - len(body.rstrip("\\"))) % 2 == 1


def _global(lines: list[str]) -> Iterator[tuple[int, str, str]]:
    """Yield index, name and rest of each command above the first entry."""
    for index, body in _starts(lines):
        match = _COMMAND.fullmatch(body)
        if match and match[1] == "title":
            return
        if match:
            yield index, match[1], match[2]


def _inserted(lines: list[str], body: str, end: str) -> list[str]:
    """Return `lines` with a command behind the last setting, else before the first entry, else at the end."""
    settings = [index + 1 for index, name, _ in _global(lines) if name in _SETTINGS | {"serial", "terminal"}]
    titles = [index for index, text in _starts(lines) if re.match(r"[ \t]*title[ \t=]", text)]
    place = settings[-1] if settings else (titles or [len(lines)])[0]
    if place and _ends_open(lines[place - 1]):
        raise ParseError("GRUB menu: a line that goes on in the next, where one is to be added", line=place)
    return physical_lines.insert(lines, place, body, end)


def _replaced(lines: list[str], index: int, body: str) -> str:
    if _ends_open(lines[index]):
        raise ParseError("GRUB menu: a setting that goes on in the next line", line=index + 1)
    return body + physical_lines.body_and_end(lines[index])[1]


def _serial(port: int) -> str:
    return f"serial --unit={port} --speed=115200 --word=8 --parity=no --stop=1"
