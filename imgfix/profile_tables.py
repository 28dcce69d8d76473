"""The tables of a profile: what it names one by one, each entry with settings of its own.

An entry of a table is overridden by its name in a profile that extends another; `null` does without it.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    model_validator,
)
from pydantic_core import PydanticCustomError

#: Octal permission bits in words: YAML 1.1 reads 0644 as the number 420.
FILE_MODE = r"^0?[0-7]{3,4}$"
OWNER = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\$?(:[A-Za-z0-9_][A-Za-z0-9_.-]*\$?)?$"

#: Who gives a file its content; exactly one does.
ORIGINS = ("content", "source", "link")


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _path(path: str) -> str:
    parts = path.split("/")[1:]
    if not path.startswith("/") or not all(parts) or {".", ".."} & set(parts):
        raise ValueError("the path of a file is needed: absolute, without '.', '..' and doubled slashes")
    return path


def _argv(value: object) -> object:
    """Text is for the guest's shell, which ends at the first command that fails."""
    if isinstance(value, str):
        return ("/bin/sh", "-e", "-c", value) if value.strip() else ()
    return _tuple(value)


def _command(argv: tuple[str, ...]) -> tuple[str, ...]:
    if not argv or not argv[0].strip():
        raise ValueError("a command is needed: [program, argument, ...], or text for the guest's /bin/sh")
    return argv


def _name(name: str) -> str:
    if not name.strip() or not name.isprintable():
        raise ValueError("a name that can be printed is needed: it says what the command is for")
    return name


GuestPath = Annotated[str, AfterValidator(_path)]
CommandName = Annotated[str, AfterValidator(_name)]
#: What to execute.
Argv = Annotated[
    tuple[str, ...],
    BeforeValidator(_argv, json_schema_input_type=str | tuple[str, ...]),
    AfterValidator(_command),
]
GuestPaths = Annotated[tuple[GuestPath, ...], BeforeValidator(_tuple)]
Words = Annotated[tuple[str, ...], BeforeValidator(_tuple)]


class File(_Entry):
    """A file that the guest shall have (R9's counterpart: what users add)."""

    content: str | None = Field(None, description="its text")
    source: str | None = Field(
        None, description="a file of this host with its content, relative to the profile"
    )
    link: str | None = Field(None, description="make it a symbolic link to this")
    mode: str | None = Field(
        None, pattern=FILE_MODE, description="permissions in quotes, such as '0600'; without it '0644'"
    )
    owner: str = Field(
        "root:root", pattern=OWNER, description="user, or user:group; the guest's names or numbers"
    )
    _data: bytes | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _has_one_origin(self) -> File:
        given = [name for name in ORIGINS if getattr(self, name) is not None]
        if not given:
            # Like a key that is missing, this is wrong of a whole profile, not of one that extends another.
            raise PydanticCustomError("missing_origin", f"one of {', '.join(ORIGINS)} is needed")
        if len(given) > 1:
            raise ValueError(f"one of {', '.join(ORIGINS)} is needed, given: {', '.join(given)}")
        if self.link is not None and (self.mode is not None or self.owner != "root:root"):
            raise ValueError("a link has neither mode nor owner of its own")
        return self

    def loaded(self, data: bytes) -> File:
        """Return the same with `data`, what is in the file that `source` names."""
        copy = self.model_copy()
        copy._data = data
        return copy

    @property
    def data(self) -> bytes:
        """The bytes that the file shall hold."""
        if self.content is not None:
            return self.content.encode()
        assert self._data is not None, "profile_load reads what `source` names"
        return self._data

    @property
    def permissions(self) -> int:
        """The permission bits."""
        return int(self.mode or "0644", 8)


class Command(_Entry):
    """A command of the guest that runs once in the appliance, without a network."""

    run: Argv = Field(description="[program, argument, ...], or text for the guest's /bin/sh -e")
    creates: GuestPath | None = Field(None, description="run while this path is missing; it must make it")
    removes: GuestPath | None = Field(None, description="run while this path is there; it must remove it")
    inputs: GuestPaths = Field((), description="run again when one of these files of the guest has changed")

    @model_validator(mode="after")
    def _has_one_guard(self) -> Command:
        given = [name for name in ("creates", "removes", "inputs") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"at most one of creates, removes and inputs, given: {', '.join(given)}")
        return self


class Product(_Entry):
    """Software of another hypervisor or cloud. It is there if one of its packages, units or paths is."""

    packages: Words = Field((), description="its packages; globs")
    units: Words = Field((), description="systemd units and init scripts that start it; globs")
    paths: GuestPaths = Field((), description="where it is when it was installed without a package; globs")
    remove: GuestPaths = Field(
        (), description="files that act by themselves, such as udev rules and cron jobs: removed; globs"
    )
    keep: bool = Field(False, description="only tell that it is there")
    why: str = Field(description="why it is of no use on Azure")


class Platforms(_Entry):
    """Software of other hypervisors and clouds, and what only they provide (R9); in both modes."""

    action: Literal["remove", "disable", "tell"] = Field(
        "remove",
        description="remove the packages of the products below, if nothing else needs them, and disable what stays; "
        "disable: keep them from starting; tell: only report",
    )
    products: dict[str, Product | None] = Field(
        default_factory=dict, description="software of other platforms, by its name; null: leave it alone"
    )
    time_servers: Words = Field((), description="time servers that only other platforms have; globs")
    shares: Words = Field((), description="types of file systems in fstab that other platforms provide")


class Secrets(_Entry):
    """The report of what looks secret and stays (R9); in generalized mode only."""

    report: bool = Field(True, description="look where keys, passwords and tokens usually are, and tell")
    places: GuestPaths = Field((), description="files to tell of, besides those that imgfix knows; globs")
    expected: Words = Field(
        (), description="keys that installing a package makes, told apart; globs, * crosses a /"
    )


def slug(name: str) -> str:
    """Return `name` as part of a file name: lower case, words joined by dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "command"
