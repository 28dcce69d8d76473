"""Commands that the profile has the guest run once (R9's counterpart: what users add).

Planning runs no guest code, so whether a command has to run is read from files: from what it creates or removes,
else from a stamp that is written when it has succeeded. This is the last step: stamps of commands with inputs
hold what the other steps have made of those.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from imgfix import tree as files
from imgfix.change import Decision, Noop, RunCommand
from imgfix.facts.model import Facts
from imgfix.profile import Profile
from imgfix.profile_tables import Command, slug
from imgfix.tree import Tree

STAMPS = "/var/lib/imgfix/commands"


class Commands:
    """Has the profile's commands run, in both modes, in the order of the profile."""

    name = "commands"
    requirements = ()

    def plan(self, profile: Profile, facts: Facts, tree: Tree) -> Iterator[Decision]:
        """Yield each command that has not done its work yet, or a Noop."""
        found = {name: command for name, command in profile.commands.items() if command is not None}
        if not found:
            yield Noop("the profile has no commands for the guest")
        for name, command in found.items():
            yield _decision(tree, name, command)


def _decision(tree: Tree, name: str, command: Command) -> Decision:
    if command.creates is not None:
        if files.exists(tree, command.creates):
            return Noop(f"{name}: {command.creates} is there")
        return RunCommand(name, command.run, f"{name}: makes {command.creates}", creates=command.creates)
    if command.removes is not None:
        if not files.exists(tree, command.removes):
            return Noop(f"{name}: {command.removes} is not there")
        return RunCommand(name, command.run, f"{name}: removes {command.removes}", removes=command.removes)
    stamp, token = _stamp(name), _token(tree, name, command)
    old = files.read_text(tree, stamp) if files.is_file(tree, stamp) else None
    if old == token:
        return Noop(f"{name}: it has run")
    why = "it has not run yet" if old is None else "it has run, but it or its inputs were different then"
    return RunCommand(name, command.run, f"{name}: {why}", stamp=stamp, token=token)


def _stamp(name: str) -> str:
    return f"{STAMPS}/{slug(name)}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _token(tree: Tree, name: str, command: Command) -> str:
    digest = hashlib.sha256(repr(command.run).encode())
    for path in command.inputs:
        content = files.read(tree, path) if files.is_file(tree, path) else None
        digest.update(repr((path, content and hashlib.sha256(content).hexdigest())).encode())
    return f"# imgfix has run this; without this file it runs again: {name}\n{digest.hexdigest()}\n"
