"""modprobe.d: directives as kmod reads them, and removing some of them, byte for byte elsewhere.

Grammar: `freadline_wrapped` and `kmod_config_parse` in
https://github.com/kmod-project/kmod/blob/master/libkmod/libkmod-config.c. A backslash at the end of a line
continues it, in a comment too; one elsewhere stands for the character behind it. Blanks and tabs separate.
A line that kmod ignores (unknown words, a missing argument) is ignored here as well.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from imgfix.errors import ParseError
from imgfix.textedit import physical_lines

#: The directives that can keep a module from being loaded; of `options`, `softdep` and the rest none can.
KEYWORDS = frozenset({"alias", "blacklist", "install"})

# Programs that load a module, and programs that surely do not. What is in neither is not guessed.
_LOADERS = frozenset({"modprobe", "insmod"})
_IDLE = frozenset({"true", "false", ":", "exit", "echo", "printf", "logger", "null", "nologin", "test", "["})
# What may stand in front of a command in the shell.
_PREFIXES = frozenset(
    {"exec", "command", "env", "!", "{", "}", "(", ")", "if", "then", "else", "fi", "do", "done"}
)

#: One blank ends the name; a command may begin with more of them, or consist of them (`strtok_r` in kmod).
_LINE = re.compile(r"[\t ]*(?P<keyword>[^\t ]+)[\t ]+(?P<name>[^\t ]+)(?:[\t ](?P<rest>.*))?", re.DOTALL)

#: Folds names: the kernel's own have `_` where file names may have `-`, but not inside a [...] of a pattern.
_DASH_OR_SET = re.compile(r"\[[^]]*\]|-")


class Effect(Enum):
    """What an `install` command means for its module."""

    LOADS = "loads it"
    NEVER = "never loads it"
    UNKNOWN = "may or may not load it"


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive of KEYWORDS on the physical lines `first` to `last` (1-based).

    `name` is the module, or for `alias` the alias, with `_` for `-`; a pattern except in `blacklist`.
    `value` is the rest: a shell command, or the module that an alias stands for.
    """

    first: int
    last: int
    keyword: str
    name: str
    value: str = ""

    def names(self, module: str) -> bool:
        """Tell whether this directive is about `module` (hv_vmbus)."""
        if self.keyword == "blacklist":
            return self.name == module
        return fnmatch.fnmatchcase(module, self.name)

    @property
    def is_pattern(self) -> bool:
        """Tell whether it may be about several modules."""
        return self.keyword != "blacklist" and any(c in self.name for c in "*?[")

    @property
    def effect(self) -> Effect:
        """Tell what the command of an `install` does, as far as its words say."""
        words = [word for part in re.split(r"[;&|\n]+", _uncommented(self.value)) if (word := _program(part))]
        if any(word in _LOADERS for word in words):
            return Effect.LOADS
        return Effect.NEVER if all(word in _IDLE for word in words) else Effect.UNKNOWN

    def __str__(self) -> str:
        return " ".join(part for part in (self.keyword, self.name, self.value.strip()) if part)


def parse(text: str) -> tuple[Directive, ...]:
    """Return the directives of KEYWORDS in `text`; raises ParseError on a NUL byte, where kmod's line ends."""
    at = text.find("\0")
    if at >= 0:
        raise ParseError("a NUL byte in a text file", line=physical_lines.number(text, at))
    found = (_directive(first, last, line) for first, last, line in _logical_lines(text))
    return tuple(directive for directive in found if directive is not None)


def remove(text: str, drop: Callable[[Directive], bool]) -> str:
    """Return `text` without the directives for which `drop` holds, their continued lines included."""
    gone = {number for d in parse(text) if drop(d) for number in range(d.first, d.last + 1)}
    lines = physical_lines.split(text)
    return "".join(line for number, line in enumerate(lines, 1) if number not in gone)


def normal(name: str) -> str:
    """Return a module's or alias' name as the kernel spells it: `_` for `-`, but for sets in a pattern."""
    return _DASH_OR_SET.sub(lambda match: "_" if match[0] == "-" else match[0], name)


def _logical_lines(text: str) -> list[tuple[int, int, str]]:
    """Return (first physical line, last one, content), continuations joined and backslashes resolved."""
    found: list[tuple[int, int, str]] = []
    content, first = "", 1
    for number, line in enumerate(physical_lines.split(text), 1):
        pieces = re.findall(r"\\\n|\\\Z|\\.|[^\\]", line, re.DOTALL)
        content += "".join(piece[-1] for piece in pieces if piece not in ("\\\n", "\\", "\n"))
        if pieces and pieces[-1] == "\\\n":
            continue
        found.append((first, number, content))
        content, first = "", number + 1
    if content:
        found.append((first, text.count("\n"), content))
    return found


def _directive(first: int, last: int, line: str) -> Directive | None:
    match = _LINE.fullmatch(line)
    if line.startswith("#") or match is None or match["keyword"] not in KEYWORDS or _is_open(match["name"]):
        return None
    name, rest = normal(match["name"]), match["rest"] or ""
    if match["keyword"] == "blacklist":
        return Directive(first, last, "blacklist", name)
    if match["keyword"] == "alias":
        target = rest.strip("\t ").replace("\t", " ").partition(" ")[0]
        rest = "" if _is_open(target) else normal(target)
    return Directive(first, last, match["keyword"], name, rest) if rest else None


def _is_open(name: str) -> bool:
    """Tell whether a set is not closed, or closed without being opened: kmod ignores such a line."""
    rest = re.sub(r"\[[^]]*\]", "", name)
    return "[" in rest or "]" in rest


def _uncommented(command: str) -> str:
    return re.sub(r"(^|\s)#.*", "", command, flags=re.DOTALL)


def _program(command: str) -> str:
    """Return the base name of the program that one simple command runs, or "" if there is none."""
    words = re.sub(r"([()])", r" \1 ", command).split()
    words = [w for w in words if w not in _PREFIXES and not re.match(r"[A-Za-z_]\w*=", w)]
    return posixpath.basename(words[0].strip("\"'")) if words else ""
