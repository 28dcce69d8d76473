"""modprobe: the configuration in force in modprobe.d, and which of its directives disable a module.

Folders, precedence and effects: modprobe.d(5), and `kmod_module_probe_insert_module` in
https://github.com/kmod-project/kmod/blob/master/libkmod/libkmod-module.c.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from imgfix import tree as guest
from imgfix.errors import ParseError
from imgfix.facts.model import Package
from imgfix.textedit import modprobe
from imgfix.textedit.modprobe import Directive, Effect
from imgfix.tree import Tree

#: In order of precedence: a file hides those of its name in later folders. /run/modprobe.d stands behind /etc
#: and is left out: it is empty at boot, whatever lies there on the disk.
FOLDERS = ("/etc/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d")

#: Those of the distribution's packages, whose files the next update brings back; /etc is there to override them.
VENDOR = FOLDERS[2:]

#: To mount a file system the kernel asks for `fs-NAME` (get_fs_type in fs/filesystems.c), not for the module.
_MOUNT_ALIAS = "fs_{}"

#: What module-init-tools passes over.
_OLD_FILTER = re.compile(r"^[.~]|\.(rpmsave|rpmorig|rpmnew|bak|YaST2save|-)$|~$")

#: What `alias NAME` leads to where no module is meant.
_NOWHERE = frozenset({"off", "null"})


@dataclass(frozen=True, slots=True)
class Rule:
    """One directive and the file it stands in; `path` is where modprobe finds the file."""

    path: str
    directive: Directive

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.path}:{self.directive.first}"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """`rule` keeps `module` from being loaded, or may do so (`certain` is False: its command is not known).

    `through` is the module that the rule names where that is not `module`, but one that it depends on.
    """

    module: str
    rule: Rule
    certain: bool = True
    through: str = ""


def has_old_tools(packages: Iterable[Package]) -> bool:
    """Tell whether the guest loads modules by module-init-tools, as Enterprise Linux 6, and not by kmod."""
    names = {package.name for package in packages}
    return "module-init-tools" in names and "kmod" not in names


def read_rules(tree: Tree, *, old_tools: bool = False) -> tuple[Rule, ...]:
    """Return the directives in force, in modprobe's order: by file name, whatever the folder.

    `old_tools`: the guest has module-init-tools (Enterprise Linux 6), not kmod. Raises ParseError with file and
    line.
    """
    paths = _old_files(tree) if old_tools else _files(tree)
    return rules_of((path, guest.read_text(tree, path)) for path in paths if guest.is_file(tree, path))


def _files(tree: Tree) -> list[str]:
    found: dict[str, str] = {}
    for folder in FOLDERS:
        for name in guest.names(tree, folder):
            path = f"{folder}/{name}"
            # A link to /dev/null hides the others of its name, and has nothing in it.
            if _counts(name) and (guest.exists(tree, path) or guest.resolve(tree, path) == "/dev/null"):
                found.setdefault(name, path)
    return [found[name] for name in sorted(found)]


def _old_files(tree: Tree) -> list[str]:
    """module-init-tools takes names without .conf, too, and knows no precedence.

    https://git.kernel.org/pub/scm/utils/kernel/module-init-tools/module-init-tools.git (config_filter.c)
    """
    names = (name for name in guest.names(tree, FOLDERS[0]) if not _OLD_FILTER.search(name))
    return ["/etc/modprobe.conf", *(f"{FOLDERS[0]}/{name}" for name in names)]


def rules_of(texts: Iterable[tuple[str, str]]) -> tuple[Rule, ...]:
    """Return the directives of (path, text), in this order; raises ParseError with file and line."""
    return tuple(Rule(path, directive) for path, text in texts for directive in _parsed(path, text))


def obstacles(rules: Sequence[Rule], module: str, needs: Sequence[str] = ()) -> Iterator[Obstacle]:
    """Yield what keeps `module` from being loaded; `needs` are the modules that it depends on.

    - `install`: the first one that matches is run instead of loading, also for a module that others need.
    - `blacklist`: a module is not loaded by an alias any more; that is how udev loads drivers and how the kernel
      loads file systems, so the module counts as disabled. It stays loadable by name and for others.
    - `alias fs-NAME off`: the alias by which a file system is mounted leads to no module. `alias NAME off` is no
      obstacle: it stops loading by name, and neither udev nor the kernel do that.
    """
    for rule in rules:
        directive = rule.directive
        blacklisted = directive.keyword == "blacklist" and directive.names(module)
        no_alias = directive.keyword == "alias" and directive.value in _NOWHERE
        if blacklisted or (no_alias and directive.names(_MOUNT_ALIAS.format(module))):
            yield Obstacle(module, rule)
    for name in (module, *needs):
        through = name if name != module else ""
        for rule in rules:
            if rule.directive.keyword != "install" or not rule.directive.names(name):
                continue
            if rule.directive.effect is not Effect.NEVER:
                if rule.directive.effect is Effect.UNKNOWN:
                    yield Obstacle(module, rule, certain=False, through=through)
                break
            # Without this one the next would be the first: all of them up to one that loads the module.
            yield Obstacle(module, rule, through=through)


def in_initramfs(hooks: Sequence[tuple[str, str]]) -> tuple[Rule, ...]:
    """Return the directives in force inside an initramfs, whose texts are `hooks` (path without slash, text)."""
    found: dict[str, tuple[str, str]] = {}
    for folder in FOLDERS:
        for path, text in hooks:
            if posixpath.dirname(f"/{path}") == folder and _counts(posixpath.basename(path)):
                found.setdefault(posixpath.basename(path), (path, text))
    return rules_of(found[name] for name in sorted(found))


def _counts(name: str) -> bool:
    return name.endswith(".conf") and not name.startswith(".") and name != ".conf"


def _parsed(path: str, text: str) -> tuple[Directive, ...]:
    try:
        return modprobe.parse(text)
    except ParseError as error:
        raise ParseError(
            f"{path}:{error.line}: {error.message}; it says which kernel modules may be loaded",
            line=error.line,
            hint=f"mend {path} in the guest; imgfix does not rewrite what it cannot parse",
        ) from error
