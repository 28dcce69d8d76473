"""model: a package, what it needs and what it gives, alike for dpkg and rpm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Relation:
    """A name, and the versions of it that will do: `operator` is one of << <= = >= >>, or empty for any.

    `architecture` is the qualifier of a dpkg name (any, arm64), empty for the guest's own. `exact` asks for the
    package of that name: one that provides the name will not do.
    """

    name: str
    operator: str = ""
    version: str = ""
    architecture: str = ""
    exact: bool = False

    def __str__(self) -> str:
        qualified = f"{self.name}:{self.architecture}" if self.architecture else self.name
        return f"{qualified} ({self.operator} {self.version})" if self.operator else qualified


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of these, the first being preferred."""

    needs: tuple[Need, ...]

    def __str__(self) -> str:
        return " or ".join(map(str, self.needs))


@dataclass(frozen=True, slots=True)
class AllOf:
    """All of these."""

    needs: tuple[Need, ...]

    def __str__(self) -> str:
        return " and ".join(map(str, self.needs))


@dataclass(frozen=True, slots=True)
class When:
    """`then` where `condition` holds (where it does not, if `negated`), else `otherwise`; rpm's if and unless."""

    condition: Need
    then: Need
    otherwise: Need | None = None
    negated: bool = False

    def __str__(self) -> str:
        rest = f" else {self.otherwise}" if self.otherwise else ""
        return f"{self.then} {'unless' if self.negated else 'if'} {self.condition}{rest}"


@dataclass(frozen=True, slots=True)
class OneWith:
    """One package that meets `all` relations and none of `none`; rpm's with and without."""

    all: tuple[Relation, ...]
    none: tuple[Relation, ...] = ()

    def __str__(self) -> str:
        return " with ".join(map(str, self.all)) + "".join(f" without {relation}" for relation in self.none)


Need: TypeAlias = Relation | AnyOf | AllOf | When | OneWith


@dataclass(frozen=True, slots=True, eq=False)
class Package:
    """One package, installed or to be had; two are the same only if they are one object.

    `version` is whole, with epoch. `needs` must hold for it to work, `first` before it is even unpacked
    (dpkg's Pre-Depends). `conflicts` may not be there besides it, `obsoletes` (rpm) go when it comes. `files`
    are only known of rpm. `size` is in bytes, installed. `shared`: it serves other architectures too (dpkg's
    Multi-Arch: foreign); `parallel`: it is installed beside its other versions, as kernels of rpm are.
    `file` is the name of the package file, empty for what is installed.
    """

    name: str
    version: str
    architecture: str
    needs: tuple[Need, ...] = ()
    first: tuple[Need, ...] = ()
    provides: tuple[Relation, ...] = ()
    conflicts: tuple[Relation, ...] = ()
    obsoletes: tuple[Relation, ...] = ()
    files: tuple[str, ...] = ()
    size: int = 0
    essential: bool = False
    shared: bool = False
    parallel: bool = False
    file: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.version}".rstrip()


class Dialect(Protocol):
    """Where dpkg and rpm differ."""

    def sorts_after(self, version: str, other: str) -> bool:
        """Tell whether the whole `version` is newer than the `other`."""

    def meets(self, provided: Relation, needed: Relation) -> bool:
        """Tell whether what a package provides meets what is needed; the names are the same."""

    def fits(self, package: Package) -> bool:
        """Tell whether the package is for the guest's architecture."""

    def replaces(self, new: Package, old: Package) -> bool:
        """Tell whether installing `new` takes the installed `old` of the same name away."""

    def serves(self, package: Package, needed: Relation) -> bool:
        """Tell whether the package's architecture is one that `needed` asks for."""

    def granted(self, needed: Relation) -> bool:
        """Tell whether the package manager itself meets the need; rpmlib(...)."""


@dataclass(frozen=True, slots=True)
class System:
    """What is installed in a guest. `unfinished` are packages whose installation or removal was interrupted."""

    dialect: Dialect
    packages: tuple[Package, ...]
    architecture: str
    unfinished: tuple[str, ...] = ()
