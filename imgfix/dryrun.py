"""imgfix apply --dry-run: the plan as lists for people, or as a patch with everything else in comments."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from imgfix import gitdiff, installer
from imgfix.change import Advice, Decision, Noop
from imgfix.console import printable, readers_may_leave, terminal_progress
from imgfix.difference import Difference
from imgfix.interrupt import Interrupts
from imgfix.plan import Item, Plan
from imgfix.preview import Preview, Wish, preview
from imgfix.readiness.judge import act_of, unforeseen
from imgfix.readiness.model import Action
from imgfix.wording import without_place

#: What the lists are called, in the order in which an apply works, and what is in each.
_LISTS: tuple[tuple[str, frozenset[Action]], ...] = (
    ("packages", frozenset({Action.INSTALL, Action.UNINSTALL})),
    ("written", frozenset({Action.WRITE, Action.EMPTY, Action.LINK, Action.COPY, Action.APPEND, Action.SET})),
    ("removed", frozenset({Action.REMOVE})),
    ("run in the guest", frozenset({Action.RUN})),
    ("rebuilt by the guest's own tools", frozenset({Action.REBUILD})),
    ("deleted from the disk", frozenset({Action.DELETE})),
)
#: Colours of a diff's lines by how they begin; the first that fits counts.
_COLOURS = (
    ("# ", "dim"),
    ("diff ", "bold"),
    ("--- ", "bold"),
    ("+++ ", "bold"),
    ("@@", "cyan"),
    ("-", "red"),
    ("+", "green"),
)


@dataclass(frozen=True, slots=True)
class Act:
    """One change: what is done to what, and why."""

    action: Action
    target: str
    reason: str
    step: str

    @property
    def line(self) -> str:
        """The change on one line."""
        return f"{self.action.value} {self.target}: {self.reason}"


def run(wish: Wish, *, network: bool, diff: bool) -> None:
    """Preview an apply of the wished profile and print it on stdout. Raises what the apply would raise."""
    interrupts = Interrupts()
    with interrupts.installed(), terminal_progress() as progress:
        found = preview(wish, progress, interrupts)
    if not network and wish.packages is None:
        installer.refuse_offline(found.plan.installs)
    console = Console()
    with readers_may_leave():
        if diff and console.is_terminal:
            show_patch(console, found)
        elif diff:
            write_patch(sys.stdout.buffer, found)
        else:
            show(console, found)
    found.require_possible()


def acts(plan: Plan) -> tuple[Act, ...]:
    """Return every change of the plan, each once, in its order."""
    found = (_act(item) for item in plan.changes)
    return tuple(dict.fromkeys(found))


def _act(item: Item) -> Act:
    action, target = act_of(item.decision)
    return Act(action, target, _reason(item.decision, target), item.step)


def _reason(decision: Decision, target: str) -> str:
    if isinstance(decision, Noop | Advice):
        raise TypeError(f"{type(decision).__name__} changes nothing")
    return without_place(decision.reason, target)


def show(console: Console, found: Preview) -> None:
    """Print the lists, then what stays, then what cannot be told yet."""
    told = acts(found.plan)
    for title, actions in _LISTS:
        lines = [act for act in told if act.action in actions]
        if lines:
            console.print(f"[bold]{title}[/]", highlight=False)
            _print_rows(console, [_row(act) for act in lines])
    notes = [(Text("note", "yellow"), Text(_one_line(text))) for text in _remarks(found)]
    if notes:
        _print_rows(console, notes)
    if not told:
        console.print("nothing is to be changed in the guest")
    console.print("nothing was written: this was a dry run")


def _row(act: Act) -> tuple[Text, Text]:
    what = Text(_one_line(act.target)).append(f" - {_one_line(act.reason)} ({act.step})", "dim")
    return Text(act.action.value, "cyan"), what


def _print_rows(console: Console, rows: Sequence[tuple[Text, Text]]) -> None:
    """Print a row a line where that is read by a program, and wrapped under its column where by people."""
    if not console.is_terminal:
        for verb, what in rows:
            console.print(Text.assemble("  ", (f"{verb.plain:<10} ", verb.style), what), soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1))
    table.add_column("verb", no_wrap=True, min_width=10)
    table.add_column("what", overflow="fold")
    for verb, what in rows:
        table.add_row(Text("  ").append_text(verb), what)
    console.print(table)


def _remarks(found: Preview) -> Iterator[str]:
    # That the source is no VHD goes without saying: the output is one.
    yield from (fault.text for fault in found.faults if fault.requirement != "R1")
    yield from found.warnings
    yield from (item.decision.text for item in found.plan.advice if isinstance(item.decision, Advice))
    yield from unforeseen(found.plan)
    for refusal in found.pending:
        yield f"decided when the packages are installed; now {refusal.error.message}"


def write_patch(stream: BinaryIO, found: Preview) -> None:
    """Write the patch: what it cannot hold as comments, then a diff a file, the guest's bytes as they are."""
    for line in _head(found):
        stream.write(_comment(line))
    for difference in _held(found.differences):
        for line in _why(difference):
            stream.write(_comment(line))
        stream.write(gitdiff.patch(difference))
    stream.flush()


def show_patch(console: Console, found: Preview) -> None:
    """Print the patch for people: in colour, nothing of the guest's raw, and no file that others may not read."""
    for line in _head(found):
        console.print(Text(_comment(line).decode().rstrip("\n"), "dim"), soft_wrap=True)
    for difference in _held(found.differences):
        for line in _why(difference):
            console.print(Text(_comment(line).decode().rstrip("\n"), "dim"), soft_wrap=True)
        text = gitdiff.patch(difference).decode("utf-8", "replace")
        if difference.is_private:
            text = (
                text.partition("\n")[0] + "\n# others may not read it: write the diff to a file to see it\n"
            )
        for row in text.removesuffix("\n").split("\n"):
            style = next((style for mark, style in _COLOURS if row.startswith(mark)), "")
            console.print(Text(_one_line(row), style), soft_wrap=True)


def _head(found: Preview) -> Iterator[str]:
    """What stands before the diffs: what a patch cannot hold, in the order of an apply."""
    yield f"imgfix apply {found.profile.name} {found.source.path}; the diffs: patch -p1 -d TREE <FILE"
    held = {difference.path for difference in _held(found.differences)}
    emptied = {difference.path for difference in found.differences if gitdiff.is_emptied(difference)}
    for act in acts(found.plan):
        is_extra = act.action is Action.SET or (act.action is Action.EMPTY and act.target in emptied)
        if is_extra or act.target not in held:
            yield act.line
    for text in _remarks(found):
        yield f"note: {text}"


def _held(differences: Sequence[Difference]) -> Iterator[Difference]:
    return (difference for difference in differences if gitdiff.can_hold(difference))


def _why(difference: Difference) -> Iterator[str]:
    yield from (f"{reason.step}: {reason.text}" for reason in difference.reasons)


def _comment(text: str) -> bytes:
    return f"# {_one_line(text)}\n".encode()


def _one_line(text: str) -> str:
    """Return guest text on one line, nothing in it that could drive a terminal."""
    told = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(c if c == "\t" else printable(c).replace("\n", "\\n") for c in told)
