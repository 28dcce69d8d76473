"""The kernel command line: arguments split, added, removed and put in order as the kernel reads them.

Grammar: `next_arg` in https://github.com/torvalds/linux/blob/master/lib/cmdline.c: white space separates,
double quotes (not escapable, anywhere in an argument) hold blanks together, dash and underscore are equal in
a name.
Arguments behind a bare `--` are init's (`parse_args` in kernel/params.c) and are left alone.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from imgfix.errors import ParseError

#: Parameters that may be given several times, each time adding a value. From dracut.cmdline(7),
#: kernel-command-line(7) and https://docs.kernel.org/admin-guide/kernel-parameters.html; `*` as in fnmatch.
#: All others are single-valued: the last one counts, so a new value replaces the old.
MULTI_VALUED = (
    *("console", "earlycon", "acpi_osi", "initcall_blacklist", "memmap", "hugepagesz", "hugepages", "video"),
    *("cgroup_disable", "cgroup_enable", "netconsole", "mtdparts", "blkdevparts"),
    *("rd.lvm.lv", "rd.lvm.vg", "rd.md.uuid", "rd.dm.uuid", "rd.zfcp", "rd.dasd", "rd.znet", "rd.cio_accept"),
    *("rd.luks.uuid", "rd.luks.name", "rd.luks.options", "rd.luks.key", "rd.luks.data", "rd.luks.serial"),
    *("luks.uuid", "luks.name", "luks.options", "luks.key", "luks.data", "rd.luks.partuuid"),
    *("rd.driver.blacklist", "rd.driver.pre", "rd.driver.post", "modprobe.blacklist"),
    *("rd.route", "ip", "ifname", "nameserver", "vlan", "bond", "bridge", "team", "netroot", "rd.iscsi.*"),
    *("systemd.mask", "systemd.wants", "systemd.setenv", "rd.systemd.mask", "rd.systemd.wants"),
    *("systemd.mount_extra", "systemd.swap_extra", "systemd.set_credential", "systemd.set_credential_binary"),
)

#: Arguments that list modules which are not to be loaded, separated by commas: the kernel's (kernel/module/main.c),
#: kmod's, dracut's (the second until dracut 009, in Enterprise Linux 6), initramfs-tools'.
BLACKLISTS = frozenset(
    {"module_blacklist", "modprobe.blacklist", "rd.driver.blacklist", "rdblacklist", "blacklist"}
)

# isspace() of the C locale, in ASCII: str.isspace would also cut at U+00A0 and the like.
_SPACE = " \t\n\v\f\r"


@dataclass(frozen=True, slots=True)
class _Arg:
    """One argument: the white space before it and its text as written."""

    space: str
    text: str

    @property
    def name(self) -> str:
        return _parts(self.text)[0]

    @property
    def value(self) -> str | None:
        return _parts(self.text)[1]

    def equals(self, text: str) -> bool:
        """Tell whether the kernel takes this argument and `text` for the same."""
        return _parts(self.text) == _parts(text)


@dataclass(frozen=True, slots=True)
class _Line:
    """A command line: the kernel's arguments, and what follows them (init's arguments, trailing blanks)."""

    args: tuple[_Arg, ...]
    rest: str

    def __str__(self) -> str:
        return "".join(arg.space + arg.text for arg in self.args) + self.rest


def split(cmdline: str) -> tuple[str, ...]:
    """Return the arguments of `cmdline` as written, quotes kept, `--` and init's arguments included.

    Raises ParseError on a quote that is not closed: the kernel would take the rest of the line into it.
    """
    return tuple(arg.text for arg in _scan(cmdline)[0])


def edit(cmdline: str, *, add: Sequence[str], remove: Sequence[str]) -> str:
    """Return `cmdline` with each of `add` in force and nothing left that matches `remove`.

    `remove` holds fnmatch patterns over whole arguments (`quiet`, `resume=*`). An added `key=value` replaces
    the value of its key where it stands, unless the key is one of MULTI_VALUED; then, as a flag, it is
    appended if it is not there. `console=ttyS0` is satisfied by `console=ttyS0,115200n8` and becomes the
    last console: that one is /dev/console (https://docs.kernel.org/admin-guide/serial-console.html). An
    argument of `add` is never removed by a wider pattern of `remove`. Spacing stays where nothing changes.
    Raises ValueError if `add` contradicts itself or `remove`, ParseError on an unclosed quote.
    """
    _check(add, remove)
    line = _parse(cmdline)
    args = list(line.args)
    for wanted in add:
        if _parts(wanted)[0] != "console":
            args = _added(args, wanted)
    args = _without(_unwanted(args, remove, keep=add), args)
    args = _consoles_ordered(args, [wanted for wanted in add if _parts(wanted)[0] == "console"])
    if tuple(args) == line.args:
        return cmdline
    glued = bool(args) and line.rest.startswith("--")
    return str(_Line(tuple(args), " " + line.rest if glued else line.rest))


def missing(cmdline: str, add: Sequence[str], remove: Sequence[str]) -> tuple[str, ...]:
    """Return in words what keeps `cmdline` from being as `edit` would make it; empty if nothing does."""
    _check(add, remove)
    args = list(_parse(cmdline).args)
    found = [problem for wanted in add if (problem := _lacks(args, wanted))]
    found += [f"{args[index].text} is present" for index in sorted(_unwanted(args, remove, keep=add))]
    if not found and edit(cmdline, add=add, remove=remove) != cmdline:
        found = [f"consoles are not in the order {' '.join(a for a in add if _parts(a)[0] == 'console')}"]
    return tuple(found)


def blacklisted(cmdline: str, modules: Sequence[str]) -> tuple[str, ...]:
    """Return the arguments of `cmdline` whose list names one of `modules` (hv_vmbus)."""
    return tuple(arg.text for arg in _parse(cmdline).args if _lists(arg, modules))


def unblacklisted(cmdline: str, modules: Sequence[str]) -> str:
    """Return `cmdline` with `modules` (hv_vmbus) taken off every list of BLACKLISTS; an empty list goes whole."""
    line = _parse(cmdline)
    args = [_unlisted(arg, modules) if _lists(arg, modules) else arg for arg in line.args]
    gone = {place for place, arg in enumerate(args) if not arg.text}
    if tuple(args) == line.args:
        return cmdline
    left = _without(gone, args)
    return str(_Line(tuple(left), line.rest if left else line.rest.lstrip(_SPACE)))


def _lists(arg: _Arg, modules: Sequence[str]) -> bool:
    return arg.name in BLACKLISTS and any(
        word.replace("-", "_") in modules for word in (arg.value or "").split(",")
    )


def _unlisted(arg: _Arg, modules: Sequence[str]) -> _Arg:
    left = [word for word in (arg.value or "").split(",") if word.replace("-", "_") not in modules]
    name = arg.text.lstrip('"').partition("=")[0]
    return replace(arg, text=f"{name}={','.join(left)}" if any(left) else "")


def overrides(new: str, old: str) -> bool:
    """Tell whether argument `new` takes the place of `old`: the same name, and one that has a single value."""
    name, value = _parts(new)
    return value is not None and name == _parts(old)[0] and not _multi(name)


def _scan(cmdline: str) -> tuple[list[_Arg], str]:
    """Cut `cmdline` into arguments and the white space behind the last one."""
    args: list[_Arg] = []
    position = 0
    while True:
        start = position
        while start < len(cmdline) and cmdline[start] in _SPACE:
            start += 1
        if start == len(cmdline):
            return args, cmdline[position:]
        end, quoted = start, False
        while end < len(cmdline) and (quoted or cmdline[end] not in _SPACE):
            quoted ^= cmdline[end] == '"'
            end += 1
        if quoted:
            raise ParseError(f"kernel command line: a double quote is not closed in {cmdline[start:end]!r}")
        args.append(_Arg(cmdline[position:start], cmdline[start:end]))
        position = end


def _parse(cmdline: str) -> _Line:
    args, tail = _scan(cmdline)
    for index, arg in enumerate(args):
        if arg.text == "--":
            return _Line(tuple(args[:index]), str(_Line(tuple(args[index:]), tail)))
    return _Line(tuple(args), tail)


def _parts(text: str) -> tuple[str, str | None]:
    """Return an argument's name (dashes as underscores) and value, unquoted as `next_arg` does it."""
    quoted = text.startswith('"')
    if quoted:
        text = text[1:].removesuffix('"')
    # The kernel looks for the equals sign behind the first character: `=x` is a name.
    at = text.find("=", 1)
    if at < 0:
        return text.replace("-", "_"), None
    value = text[at + 1 :]
    if value.startswith('"'):
        value = value[1:].removesuffix('"')
    return text[:at].replace("-", "_"), value


def _plain(text: str) -> str:
    name, value = _parts(text)
    return name if value is None else f"{name}={value}"


def _matches(arg: _Arg, pattern: str) -> bool:
    name, equals, value = pattern.partition("=")
    # A dash inside [...] is a range, not part of a name.
    name = re.sub(r"\[[^]]*\]|-", lambda m: m[0] if m[0] != "-" else "_", name)
    plain = value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
    return fnmatch.fnmatchcase(_plain(arg.text), name + equals + plain)


def _multi(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in MULTI_VALUED)


def _device(value: str | None) -> str:
    """Return the device of a console value: `ttyS0` of `ttyS0,115200n8`."""
    return (value or "").split(",", 1)[0]


def _satisfies(arg: _Arg, wanted: str) -> bool:
    """Tell whether `arg` does what `wanted` asks for: the same, or the same console with options."""
    if arg.equals(wanted):
        return True
    name, value = _parts(wanted)
    bare_console = name == "console" and value is not None and "," not in value
    return bare_console and arg.name == name and arg.value is not None and _device(arg.value) == value


def _added(args: list[_Arg], wanted: str) -> list[_Arg]:
    """Return `args` with `wanted` (not a console) in force."""
    name, value = _parts(wanted)
    if value is None or _multi(name):
        return args if any(arg.equals(wanted) for arg in args) else _appended(args, wanted)
    places = [index for index, arg in enumerate(args) if arg.name == name and arg.value is not None]
    if not places:
        return _appended(args, wanted)
    # The last one is in force: it stays where it is, the others go.
    last = args[places[-1]]
    kept = last if last.equals(wanted) else replace(last, text=wanted)
    return _without({*places[:-1]}, [*args[: places[-1]], kept, *args[places[-1] + 1 :]])


def _appended(args: list[_Arg], text: str) -> list[_Arg]:
    return [*args, _Arg(" " if args else "", text)]


def _without(places: set[int], args: list[_Arg]) -> list[_Arg]:
    """Return `args` but for `places`; the first one left takes over the white space the line began with."""
    left = [arg for index, arg in enumerate(args) if index not in places]
    if left and 0 in places:
        left[0] = replace(left[0], space=args[0].space)
    return left


def _unwanted(args: list[_Arg], patterns: Sequence[str], keep: Sequence[str]) -> set[int]:
    """Return the places of the arguments that match one of `patterns` and satisfy none of `keep`."""
    return {
        index
        for index, arg in enumerate(args)
        if any(_matches(arg, pattern) for pattern in patterns)
        and not any(_satisfies(arg, wanted) for wanted in keep)
    }


def _consoles_ordered(args: list[_Arg], wanted: Sequence[str]) -> list[_Arg]:
    """Return `args` with the `wanted` consoles (each device once) last among the consoles, in that order."""
    if not wanted:
        return args
    slots = [index for index, arg in enumerate(args) if arg.name == "console" and arg.value is not None]
    devices = {_device(_parts(text)[1]): text for text in wanted}
    order = [args[slot].text for slot in slots if _device(args[slot].value) not in devices]
    order += [_spelling([args[slot] for slot in slots], text) for text in devices.values()]
    surplus = max(len(slots) - len(order), 0)
    result = list(args)
    for slot, text in zip(slots[surplus:], order, strict=False):
        result[slot] = replace(result[slot], text=text)
    for text in order[len(slots) :]:
        result = _appended(result, text)
    return _without(set(slots[:surplus]), result)


def _spelling(consoles: list[_Arg], wanted: str) -> str:
    """Return how the `wanted` console is written: as found, options and all, if that satisfies.

    Of two entries for one device the kernel takes the options of the first
    (`__add_preferred_console` in https://github.com/torvalds/linux/blob/master/kernel/printk/printk.c).
    """
    return next((arg.text for arg in consoles if _satisfies(arg, wanted)), wanted)


def _lacks(args: list[_Arg], wanted: str) -> str | None:
    """Return in words what is wrong about one wanted argument, or None."""
    name, value = _parts(wanted)
    same = [arg for arg in args if arg.name == name and arg.value is not None]
    if name == "console":
        return _console_lacks(same, wanted)
    if value is None or _multi(name) or not same:
        return None if any(arg.equals(wanted) for arg in args) else f"{wanted} is missing"
    if not same[-1].equals(wanted):
        return f"{same[-1].text} should be {wanted}"
    return f"{name}= is given {len(same)} times" if len(same) > 1 else None


def _console_lacks(consoles: list[_Arg], wanted: str) -> str | None:
    device = _device(_parts(wanted)[1])
    same = [arg for arg in consoles if _device(arg.value) == device]
    if not any(_satisfies(arg, wanted) for arg in same):
        return f"{wanted} is missing"
    return f"console={device} is given {len(same)} times" if len(same) > 1 else None


def _check(add: Sequence[str], remove: Sequence[str]) -> None:
    """Raise ValueError if the request is malformed or contradicts itself: no result would be stable."""
    values: dict[str, str] = {}
    for text in add:
        if text == "--" or not _is_one(text):
            raise ValueError(f"not one kernel argument: {text!r}")
        name, value = _parts(text)
        # Two different requests for one single-valued key, or for one console, would fight each other.
        device = f"console={_device(value)}" if name == "console" else name
        single = value is not None and (name == "console" or not _multi(name))
        if single and values.setdefault(device, _plain(text)) != _plain(text):
            raise ValueError(f"{values[device]} and {text} are both to be added")
    clash = sorted({_plain(text) for text in add} & {_plain(text) for text in remove})
    if clash:
        raise ValueError(f"{clash[0]} is both to be added and to be removed")


def _is_one(text: str) -> bool:
    try:
        return split(text) == (text,)
    except ParseError:
        return False
