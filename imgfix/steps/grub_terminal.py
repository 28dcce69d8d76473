"""GRUB's own menu on the serial port, where Azure's serial console can show it (R26).

The kernel's console and the login are other steps' business; this one is about what comes before the kernel.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from imgfix import tree as files
from imgfix.change import Advice, Decision, Noop, WriteFile
from imgfix.facts.bootloader import Bootloader, read_bootloader
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.steps.command_line import GRUB_DEFAULTS, GRUB_DROPINS
from imgfix.steps.edit import edited, parsing
from imgfix.textedit import grub_legacy, grubcfg, shellvars
from imgfix.tree import Tree

#: Replaces both of the others where it is set (util/grub-mkconfig.in). `gfxterm`, the default, is a picture:
#: it cannot be sent down a wire, and drawing it takes long on Hyper-V's screen.
_TERMINAL = "GRUB_TERMINAL"
_SIDES = ("GRUB_TERMINAL_INPUT", "GRUB_TERMINAL_OUTPUT")
_SERIAL = "GRUB_SERIAL_COMMAND"
_TIMEOUT = "GRUB_TIMEOUT"
_WANTED = "serial console"

#: As Microsoft's own images have it:
#: https://learn.microsoft.com/troubleshoot/azure/virtual-machines/linux/serial-console-grub-proactive-configuration
_COMMAND = "serial --speed=115200 --unit={} --word=8 --parity=no --stop=1"

_REASON = "GRUB's menu on the serial port"
_TIMEOUT_REASON = "the menu waits as long as the profile says"
_SETTLED = "its menu is as wanted"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the menu shall be like: on serial port `unit`, waiting `seconds`; None: as it is."""

    unit: int | None
    seconds: int | None

    def decide(self, tree: Tree, path: str, edit: Callable[[str], str]) -> Decision:
        """Decide on the file at `path`."""
        reason = _TIMEOUT_REASON if self.unit is None else _REASON
        return edited(tree, path, edit, reason=reason, settled=_SETTLED)


class GrubTerminal:
    """Edits GRUB's defaults, or GRUB legacy's menu; `grub` regenerates what is made from them."""

    name = "grub_terminal"
    requirements = ("R26",)

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield an edit or a Noop for each file that sets up the menu."""
        want = _Wanted(serial_unit(profile), profile.grub.timeout)
        if want == _Wanted(None, None):
            yield Noop("the profile leaves GRUB's menu as it is")
            return
        loader = read_bootloader(tree, facts.storage)
        found = [*_defaults(tree, loader, want), *_legacy(tree, loader, want)]
        if loader.generator is None and any(d for d in found if isinstance(d, WriteFile) and loader.menus):
            yield Advice("GRUB's menu stays as it is: the guest has no grub-mkconfig to make it again")
            return
        yield from found
        if not found:
            yield Noop(f"no {GRUB_DEFAULTS} and no menu of GRUB legacy to set up a serial port in")


def serial_unit(profile: Profile) -> int | None:
    """Return the number of the serial port that GRUB's menu shall be on: 0 for ttyS0; None for none.

    Other ports than the PC's (ttyAMA0) are not GRUB's to drive: there the firmware's console is the serial port.
    """
    match = re.fullmatch(r"ttyS([0-9]+)", profile.services.serial_console or "")
    return int(match[1]) if profile.grub.serial and match else None


def problems(profile: Profile, tree: Tree, text: str) -> str:
    """Return in words what is out of date in a grub.cfg against GRUB's defaults, as far as the menu goes."""
    if _asks_for_serial(tree) and not grubcfg.is_on_serial(text):
        return "its menu is not on the serial port"
    seconds = profile.grub.timeout
    if seconds is not None and _final(tree, _TIMEOUT) == str(seconds):
        return "" if seconds in grubcfg.timeouts(text) else f"its menu does not wait {seconds} seconds"
    return ""


def _defaults(tree: Tree, loader: Bootloader, want: _Wanted) -> Iterator[Decision]:
    if not loader.menus or not files.is_file(tree, GRUB_DEFAULTS):
        return
    yield want.decide(tree, GRUB_DEFAULTS, lambda text: _menu(text, want, main=True))
    for path in files.glob(tree, GRUB_DROPINS):
        if files.is_file(tree, path):
            yield want.decide(tree, path, lambda text: _menu(text, want, main=False))


def _legacy(tree: Tree, loader: Bootloader, want: _Wanted) -> Iterator[Decision]:
    """GRUB legacy's EFI build has the firmware's console, which is the serial port's too where it matters."""
    for path in loader.legacy:
        if not path.startswith("/boot/efi/"):
            yield want.decide(tree, path, lambda text: _legacy_menu(text, want))


def _menu(text: str, want: _Wanted, *, main: bool) -> str:
    """Return GRUB's defaults as wanted; only the `main` file gets what is nowhere in it."""
    if want.unit is not None:
        text = _on_serial(text, want.unit, main=main)
    return text if want.seconds is None else _waiting(text, want.seconds, main=main)


def _on_serial(text: str, unit: int, *, main: bool) -> str:
    # Once the main file has the one that replaces the two, these do nothing.
    for name in (_TERMINAL, *(() if main else _SIDES)):
        text = shellvars.map_value(text, name, _terminal)
    command = _COMMAND.format(unit)
    text = shellvars.map_value(text, _SERIAL, lambda v: v if grub_legacy.unit(v) == unit else command)
    if main and not _is_on_serial({name: shellvars.get(text, name) for name in (_TERMINAL, *_SIDES)}):
        text = shellvars.set_value(text, _TERMINAL, _WANTED)
    if main and shellvars.get(text, _SERIAL) is None:
        text = shellvars.set_value(text, _SERIAL, command)
    return text


def _terminal(value: str) -> str:
    words = value.split()
    return value if "serial" in words and "gfxterm" not in words else _WANTED


def _waiting(text: str, seconds: int, *, main: bool) -> str:
    text = shellvars.map_value(text, _TIMEOUT, lambda _: str(seconds))
    if main and shellvars.get(text, _TIMEOUT) is None:
        text = shellvars.set_value(text, _TIMEOUT, str(seconds))
    if seconds:
        # A menu that is hidden cannot be seen while it waits; the older variable does the same.
        text = shellvars.map_value(text, "GRUB_TIMEOUT_STYLE", lambda v: "menu" if v == "hidden" else v)
        text = shellvars.map_value(text, "GRUB_HIDDEN_TIMEOUT", lambda _: "")
    return text


def _legacy_menu(text: str, want: _Wanted) -> str:
    text = text if want.unit is None else grub_legacy.with_serial(text, want.unit)
    return text if want.seconds is None else grub_legacy.with_timeout(text, want.seconds)


def _asks_for_serial(tree: Tree) -> bool:
    return _is_on_serial({name: _final(tree, name) for name in (_TERMINAL, *_SIDES)})


def _is_on_serial(values: dict[str, str | None]) -> bool:
    """Tell whether grub-mkconfig would put the menu on the serial port, both ways."""
    sides = [values[_TERMINAL] or values[side] or "" for side in _SIDES]
    return all("serial" in side.split() for side in sides)


def _final(tree: Tree, name: str) -> str | None:
    """Return the value that grub-mkconfig sees: that of the main file, unless a drop-in has one."""
    value = None
    for path in (GRUB_DEFAULTS, *files.glob(tree, GRUB_DROPINS)):
        if files.is_file(tree, path):
            with parsing(path):
                found = shellvars.get(files.read_text(tree, path), name)
            value = value if found is None else found
    return value
