"""Holds the layers of the design: who may import whom, who may touch files, how long things may grow.

A row of RULES forbids; what no row forbids is allowed. To extend: add a row.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "imgfix"

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

#: "imgfix.cli" stands for the module and for everything below it; "imgfix" for all of the package.
PURE = (
    "imgfix.steps", "imgfix.plan", "imgfix.textedit", "imgfix.facts", "imgfix.profile", "imgfix.profile_tables",
    "imgfix.change", "imgfix.pack", "imgfix.packaging",
)  # fmt: skip
HOST_MODULES = ("guestfs", "click", "subprocess", "os", "pathlib", "shutil", "socket", "tempfile", "urllib")


@dataclass(frozen=True, slots=True)
class Rule:
    """`who` must not import `banned`, except for the modules `but_may`; `why` is for the failure."""

    who: tuple[str, ...]
    banned: tuple[str, ...]
    why: str
    but_may: tuple[str, ...] = ()
    except_for: tuple[str, ...] = ()


RULES = (
    Rule(("imgfix",), ("guestfs",), "one module speaks to libguestfs", except_for=("imgfix.appliance",)),
    Rule(
        ("imgfix",), ("click",), "the command line ends in cli", except_for=("imgfix.cli", "imgfix.commands")
    ),
    Rule(("imgfix",), ("imgfix.cli",), "imports run downward", except_for=("imgfix.cli", "imgfix.__main__")),
    Rule(
        ("imgfix",),
        ("imgfix.commands",),
        "imports run downward",
        except_for=("imgfix.cli", "imgfix.commands"),
    ),
    Rule(
        ("imgfix",),
        ("imgfix.pipeline",),
        "imports run downward",
        except_for=("imgfix.cli", "imgfix.commands", "imgfix.pipeline", "imgfix.report", "imgfix.batch"),
    ),
    Rule(
        PURE,
        HOST_MODULES,
        "planning has no hands: no host files, no processes",
        except_for=("imgfix.facts.rpmdb",),  # see MAY_OPEN
    ),
    Rule(("imgfix.facts.rpmdb",), ("guestfs", "click", "subprocess"), "planning has no hands"),
    Rule(("imgfix.textedit",), ("imgfix",), "pure str -> str", but_may=("imgfix.errors", "imgfix.textedit")),
    Rule(("imgfix.disk",), ("imgfix",), "disks know no guests", but_may=("imgfix.errors", "imgfix.disk")),
    Rule(
        ("imgfix.facts",),
        ("imgfix",),
        "facts are read from a tree",
        but_may=("imgfix.tree", "imgfix.errors", "imgfix.textedit", "imgfix.facts"),
    ),
    Rule(
        ("imgfix.packaging",),
        ("imgfix",),
        "packages are read from a tree or a stream",
        but_may=("imgfix.tree", "imgfix.errors", "imgfix.facts", "imgfix.packaging"),
    ),
    Rule(
        ("imgfix.steps", "imgfix.plan", "imgfix.change"),
        (
            *(
                "imgfix.guest",
                "imgfix.apply",
                "imgfix.verify",
                "imgfix.disk",
                "imgfix.report",
                "imgfix.doctor",
            ),
            *("imgfix.installer", "imgfix.package_folder"),
        ),
        "a step decides and never acts",
    ),
    Rule(("imgfix.steps",), ("imgfix.plan",), "the plan calls the steps"),
    Rule(("imgfix.guest", "imgfix.apply", "imgfix.installer"), ("imgfix.steps",), "acting knows no planning"),
    Rule(
        ("imgfix.guest", "imgfix.appliance"), ("imgfix.plan", "imgfix.apply"), "a guest does what it is told"
    ),
    Rule(("imgfix.tree", "imgfix.errors"), ("imgfix",), "the ground floor", but_may=("imgfix.errors",)),
)

#: Modules of PURE that may open files of the host, with the reason.
MAY_OPEN = {
    "imgfix.facts.rpmdb": "sqlite3 opens nothing but files before Python 3.11, which brought deserialize()",
}
FILE_CALLS = {
    "open", "read_text", "read_bytes", "write_text", "write_bytes", "unlink", "mkdir", "rename", "touch",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Module:
    """A module of imgfix; `name` is dotted, without `.__init__`."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"


def _module(path: Path) -> Module:
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(name, path, ast.parse(path.read_text(encoding="utf-8")))


MODULES = tuple(_module(path) for path in sorted(PACKAGE.rglob("*.py")))
NAMES = frozenset(module.name for module in MODULES)


def _within(name: str, tops: Iterable[str]) -> bool:
    return any(name == top or name.startswith(top + ".") for top in tops)


def _from_base(module: Module, node: ast.ImportFrom) -> str:
    """Return the absolute name behind `from X import`, relative ones resolved."""
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    keep = len(parts) - node.level + (1 if module.is_package else 0)
    return ".".join([*parts[:keep], *([node.module] if node.module else [])])


def _imports(module: Module) -> Iterator[tuple[str, int]]:
    """Yield (absolute module name, line) of every import, the ones inside functions and TYPE_CHECKING too."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _from_base(module, node)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield (full if full in NAMES else base), node.lineno
        elif isinstance(node, ast.Call) and _call_name(node) in ("import_module", "__import__"):
            yield from ((str(arg.value), node.lineno) for arg in node.args if isinstance(arg, ast.Constant))


def _breaches(rule: Rule, module: Module) -> Iterator[str]:
    if not _within(module.name, rule.who) or _within(module.name, rule.except_for):
        return
    for name, line in _imports(module):
        if _within(name, rule.banned) and not _within(name, rule.but_may):
            yield f"{module.path.relative_to(ROOT)}:{line} imports {name}: {rule.why}"


def _call_name(node: ast.Call) -> str:
    if isinstance(node.func, ast.Name):
        return node.func.id
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def _guest_side(module: Module) -> frozenset[str]:
    """Return the module's names for imgfix.tree and what is in it: reading by those is no host I/O."""
    names = {"tree"}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom):
            base = _from_base(module, node)
            names |= {a.asname or a.name for a in node.names if "imgfix.tree" in (base, f"{base}.{a.name}")}
    return frozenset(names)


def _touches_host(node: ast.Call, guest_side: frozenset[str]) -> bool:
    if _call_name(node) not in FILE_CALLS:
        return False
    if isinstance(node.func, ast.Name):
        return node.func.id not in guest_side
    assert isinstance(node.func, ast.Attribute)
    owner = ast.unparse(node.func.value).split(".")[-1]
    # `_Book.open(data)` is a constructor with that name.
    return owner not in guest_side and not re.fullmatch(r"_[A-Z]\w*", owner)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.who[0]}-not-{rule.banned[0]}")
def test_imports_run_downward(rule: Rule) -> None:
    assert [breach for module in MODULES for breach in _breaches(rule, module)] == []


def test_pure_modules_open_no_files() -> None:
    found = []
    for module in MODULES:
        if not _within(module.name, PURE) or module.name in MAY_OPEN:
            continue
        guest_side = _guest_side(module)
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and _touches_host(node, guest_side):
                found.append(f"{module.path.relative_to(ROOT)}:{node.lineno} calls {_call_name(node)}")
    assert found == []


def test_only_cli_exits() -> None:
    found = []
    for module in MODULES:
        if _within(module.name, ("imgfix.cli", "imgfix.__main__")):
            continue
        for node in ast.walk(module.tree):
            text = ast.unparse(node) if isinstance(node, ast.Attribute | ast.Name) else ""
            if text in ("sys.exit", "os._exit", "SystemExit", "exit", "quit"):
                found.append(f"{module.path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)} uses {text}")
    assert found == []


def test_files_stay_short() -> None:
    lengths = {
        m.path.relative_to(ROOT): len(m.path.read_text(encoding="utf-8").splitlines()) for m in MODULES
    }
    assert {path: lines for path, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def _functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_functions_stay_short() -> None:
    long = [
        f"{module.path.relative_to(ROOT)}:{f.lineno} {f.name} has {f.end_lineno - f.lineno + 1} lines"
        for module in MODULES
        for f in _functions(module)
        if f.end_lineno is not None and f.end_lineno - f.lineno >= MAX_FUNCTION_LINES
    ]
    assert long == []


def _public(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Yield the public functions and classes of a module, and the public methods of the latter."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name[0] != "_":
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _public(node.body)


def _inherits_docstring(node: ast.AST) -> bool:
    """An override says so, and a setter has its property's."""
    names = {ast.unparse(d).split(".")[-1] for d in getattr(node, "decorator_list", [])}
    return bool(names & {"override", "setter", "overload"})


def test_public_things_have_docstrings() -> None:
    bare = [
        f"{module.path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for module in MODULES
        for node in _public(module.tree.body)
        if not ast.get_docstring(node) and not _inherits_docstring(node)
    ]
    assert bare == []
    assert [str(m.path) for m in MODULES if not ast.get_docstring(m.tree)] == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("imgfix.steps.swap", "import subprocess"),
        ("imgfix.steps.swap", "from imgfix import guest"),
        ("imgfix.textedit.fstab", "from imgfix.tree import Tree"),
        ("imgfix.facts.swap", "def f():\n    from pathlib import Path"),
        ("imgfix.apply", "import guestfs"),
        ("imgfix.apply", "import importlib\nimportlib.import_module('guestfs')"),
        ("imgfix.doctor", "import click"),
        ("imgfix.disk.vhd", "from ..facts import model"),
        ("imgfix.guest", "from imgfix.cli import main"),
    ],
)
def test_the_rules_catch(name: str, source: str) -> None:
    """The rules would be worth nothing if they let these through."""
    module = Module(name, PACKAGE / (name.split(".", 1)[1].replace(".", "/") + ".py"), ast.parse(source))
    assert [breach for rule in RULES for breach in _breaches(rule, module)]


@pytest.mark.parametrize(
    ("source", "caught"),
    [
        ("open('/etc/fstab')", True),
        ("Path('/etc/fstab').read_text()", True),
        ("path.write_bytes(b'')", True),
        ("io.open('x')", True),
        ("tree.read_text('/etc/fstab')", False),
        ("from imgfix import tree as guest\nguest.read_text(t, '/etc/fstab')", False),
        ("from imgfix.tree import read_text\nread_text(t, '/etc/fstab')", False),
        ("_Book.open(data)", False),
    ],
)
def test_file_calls_are_told_from_guest_reads(source: str, caught: bool) -> None:
    module = Module("imgfix.facts.x", PACKAGE / "facts/x.py", ast.parse(source))
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    assert any(_touches_host(call, _guest_side(module)) for call in calls) is caught
