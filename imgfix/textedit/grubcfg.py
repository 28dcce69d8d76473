"""A generated grub.cfg: the kernels it boots and their arguments.

Grammar: https://www.gnu.org/software/grub/manual/grub/grub.html#Shell_002dlike-scripting. Only commands
that begin a line are looked at, as grub-mkconfig writes them; arguments are the rest of the line up to an
unquoted `;`, `|`, `&` or comment, as written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from imgfix.errors import ParseError
from imgfix.textedit import physical_lines

_COMMAND = re.compile(r"[ \t]*(linux|linux16|linuxefi)(?=[ \t])")
_16BIT = re.compile(r"^([ \t]*(?:linux|initrd))16(?=[ \t])", re.MULTILINE)
_FORWARD = re.compile(r"^[ \t]*(?:configfile|source|normal)[ \t]+(\S+)", re.MULTILINE)
_MENU = re.compile(r"^[ \t]*(?:menuentry|submenu)[ \t]|^### BEGIN /etc/grub\.d/", re.MULTILINE)
_SERIAL = re.compile(r"^[ \t]*serial(?=[ \t;]|$)", re.MULTILINE)
_TERMINALS = tuple(
    re.compile(rf"^[ \t]*terminal_{side}[ \t](?:.*[ \t])?serial(?=[ \t;]|$)", re.MULTILINE)
    for side in ("input", "output")
)
_TIMEOUT = re.compile(r"^[ \t]*set timeout=[\"']?(-?[0-9]+)", re.MULTILINE)
_BLSCFG = re.compile(
    r"^(?:[^#\n]*[;{&|])?[ \t]*(?:(?:then|else|do)[ \t]+)?blscfg(?=[\s;&|]|\Z)", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class LinuxLine:
    """One command that loads a kernel.

    `line` is 1-based; `kernel` is its path with quotes taken off; `args` is the kernel command line as
    written.
    """

    line: int
    command: str
    kernel: str
    args: str


@dataclass(frozen=True, slots=True)
class _Found:
    """A LinuxLine and the offsets of its args in the line; `path_end` is where its path ends."""

    line: LinuxLine
    path_end: int
    start: int
    end: int


def linux_lines(text: str) -> tuple[LinuxLine, ...]:
    """Return the `linux`, `linux16` and `linuxefi` commands. Raises ParseError on quotes that span lines."""
    return tuple(found.line for _, found in _find(physical_lines.split(text)))


def map_linux(text: str, fn: Callable[[LinuxLine], str]) -> str:
    """Return `text` with the arguments of each such command as `fn` gives them; all else stays.

    Raises ParseError as `linux_lines` does, ValueError if `fn` returns more than one line.
    """
    lines = physical_lines.split(text)
    changed = False
    for index, found in _find(lines):
        new = fn(found.line)
        if new == found.line.args:
            continue
        new = new.strip(" \t")
        if "\r" in found.line.args:
            raise ParseError("grub.cfg: a carriage return inside a kernel command", line=index + 1)
        if "\n" in new or "\r" in new:
            raise ValueError(f"not one line of kernel arguments: {new!r}")
        line = lines[index]
        # A command without arguments has no blank behind its path either.
        head = line[: found.start] if found.start > found.path_end else line[: found.path_end] + " "
        lines[index] = (head if new else line[: found.path_end]) + new + line[found.end :]
        changed = True
    return "".join(lines) if changed else text


def uses_blscfg(text: str) -> bool:
    """Tell whether the command `blscfg` is run: kernels then come from BLS entries."""
    return _BLSCFG.search(text) is not None


def forwards_to(text: str) -> str | None:
    """Return the configuration that this one only leads to, as written (`$prefix/grub.cfg`); None if it is a menu.

    The ESP of Debian, Ubuntu, SUSE, Fedora >= 34 and EL >= 9 holds such a stub:
    https://fedoraproject.org/wiki/Changes/UnifyGrubConfig
    """
    found = _FORWARD.findall(text)
    if not found or _MENU.search(text) or uses_blscfg(text) or any(map(_COMMAND.match, text.split("\n"))):
        return None
    return str(found[-1]).strip("\"'")


def for_uefi(text: str) -> str:
    """Return `text` with `linux16` and `initrd16`, which only BIOS has, as `linuxefi` and `initrdefi`.

    EL 7's 10_linux asks /sys/firmware/efi which of the two to write, that is the machine that runs it:
    https://github.com/libguestfs/virt-v2v/issues/160
    """
    return _16BIT.sub(r"\1efi", text)


def is_on_serial(text: str) -> bool:
    """Tell whether the menu is set up for the serial port, both ways, as 00_header does it.

    https://github.com/rhboot/grub2/blob/master/util/grub.d/00_header.in
    """
    return bool(_SERIAL.search(text)) and all(side.search(text) for side in _TERMINALS)


def timeouts(text: str) -> tuple[int, ...]:
    """Return every time-out that is set, in seconds, in order: 00_header sets one for each case."""
    return tuple(int(seconds) for seconds in _TIMEOUT.findall(text))


def _find(lines: list[str]) -> list[tuple[int, _Found]]:
    found = []
    for index, line in enumerate(lines):
        match = _COMMAND.match(line)
        if match:
            found.append((index, _parsed(physical_lines.body_and_end(line)[0], index + 1, match)))
    return found


def _parsed(body: str, number: int, match: re.Match[str]) -> _Found:
    path_start = _skip_blanks(body, match.end())
    path_end = _word_end(body, path_start, number)
    if path_end == path_start:
        raise ParseError(f"grub.cfg: {match[1]} without a kernel", line=number)
    start = end = at = _skip_blanks(body, path_end)
    while at < len(body) and body[at] not in ";|&#":
        end = _word_end(body, at, number)
        at = _skip_blanks(body, end)
    kernel = re.sub(r"\\(.)|['\"]", r"\1", body[path_start:path_end])
    if start == end:
        start = end = path_end
    return _Found(LinuxLine(number, match[1], kernel, body[start:end]), path_end, start, end)


def _skip_blanks(body: str, at: int) -> int:
    while at < len(body) and body[at] in " \t":
        at += 1
    return at


def _word_end(body: str, at: int, number: int) -> int:
    """Return where the word at `at` ends; quotes and backslashes as in GRUB's script lexer."""
    quote = ""
    while at < len(body) and (quote or body[at] not in " \t;|&"):
        char = body[at]
        if char == "\\" and quote != "'":
            if at + 1 == len(body):
                raise ParseError("grub.cfg: a kernel command that goes on in the next line", line=number)
            at += 1
        elif char == quote:
            quote = ""
        elif char in "'\"" and not quote:
            quote = char
        at += 1
    if quote:
        raise ParseError("grub.cfg: a quote is not closed in a kernel command", line=number)
    return at
