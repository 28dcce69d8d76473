"""world: packages that are, or would be, installed together, and what holds among them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from imgfix.packaging.model import AllOf, AnyOf, Dialect, Need, OneWith, Package, Relation, When


class Index:
    """Every package that there is, installed or to be had, by what it gives, needs and rejects.

    `canonical` leads a path through the guest's folder links: /bin/sh is /usr/bin/sh where /bin is a link.
    """

    def __init__(
        self,
        dialect: Dialect,
        packages: Iterable[Package],
        canonical: Callable[[str], str] = lambda path: path,
    ) -> None:
        self.dialect = dialect
        self.canonical = canonical
        self.named: dict[str, list[Package]] = defaultdict(list)
        self.providers: dict[str, list[tuple[Package, Relation]]] = defaultdict(list)
        self.owners: dict[str, list[Package]] = defaultdict(list)
        self.users: dict[str, list[Package]] = defaultdict(list)
        self.opponents: dict[str, list[tuple[Package, Relation]]] = defaultdict(list)
        for package in packages:
            self._add(package)

    def _add(self, package: Package) -> None:
        self.named[package.name].append(package)
        for provided in given(package):
            self.providers[provided.name].append((package, provided))
        for path in package.files:
            self.owners[self.canonical(path)].append(package)
        for name in {
            relation.name for need in (*package.first, *package.needs) for relation in relations(need)
        }:
            self.users[self.canonical(name)].append(package)
        for conflict in package.conflicts:
            self.opponents[conflict.name].append((package, conflict))

    def meeting(self, relation: Relation) -> Iterator[Package]:
        """Yield the packages that meet one relation, each once."""
        seen: set[Package] = set()
        for package, provided in self.providers.get(relation.name, ()):
            if package not in seen and self._meets(package, provided, relation):
                seen.add(package)
                yield package
        if relation.name.startswith("/"):
            for package in self.owners.get(self.canonical(relation.name), ()):
                if package not in seen:
                    seen.add(package)
                    yield package

    def _meets(self, package: Package, provided: Relation, needed: Relation) -> bool:
        return (
            (package.name == needed.name or not needed.exact)
            and self.dialect.serves(package, needed)
            and self.dialect.meets(provided, needed)
        )


@dataclass(frozen=True, slots=True)
class World:
    """The packages of an index that are there: installed and not taken away, or chosen to be installed."""

    index: Index
    present: frozenset[Package]

    def __contains__(self, package: Package) -> bool:
        return package in self.present

    def changed(self, *, add: Iterable[Package] = (), remove: Iterable[Package] = ()) -> World:
        """Return the world without some packages and with others."""
        return replace(self, present=(self.present - frozenset(remove)) | frozenset(add))

    def meeting(self, relation: Relation) -> Iterator[Package]:
        """Yield the packages that are there and meet one relation."""
        return (package for package in self.index.meeting(relation) if package in self.present)

    def holds(self, need: Need) -> bool:
        """Tell whether what is there meets `need`."""
        match need:
            case Relation():
                return self.index.dialect.granted(need) or any(True for _ in self.meeting(need))
            case AnyOf(needs):
                return any(self.holds(one) for one in needs)
            case AllOf(needs):
                return all(self.holds(one) for one in needs)
            case When():
                branch = self.branch(need)
                return branch is None or self.holds(branch)
            case OneWith():
                return any(package in self.present for package in both(self.index, need))

    def branch(self, need: When) -> Need | None:
        """Return what a conditional need asks for here; None for nothing."""
        return need.then if self.holds(need.condition) != need.negated else need.otherwise

    def clashes(self, package: Package) -> Iterator[Package]:
        """Yield what is there and may not be besides `package`, whichever of the two says so."""
        for conflict in package.conflicts:
            yield from (other for other in self.meeting(conflict) if other is not package)
        for provided in given(package):
            for other, conflict in self.index.opponents.get(provided.name, ()):
                dialect = self.index.dialect
                if other in self.present and other is not package and dialect.meets(provided, conflict):
                    yield other


def given(package: Package) -> Iterator[Relation]:
    """Yield what a package provides, itself first."""
    yield Relation(package.name, "=", package.version)
    yield from package.provides


def relations(need: Need) -> Iterator[Relation]:
    """Yield every relation in a need, conditions included."""
    match need:
        case Relation():
            yield need
        case AnyOf(needs) | AllOf(needs):
            for one in needs:
                yield from relations(one)
        case When(condition, then, otherwise):
            for part in (condition, then, otherwise):
                yield from () if part is None else relations(part)
        case OneWith(every, none):
            yield from (*every, *none)


def both(index: Index, need: OneWith) -> Iterator[Package]:
    """Yield the packages of the index that meet every relation of `need` and none of those it excludes."""
    excluded = {package for relation in need.none for package in index.meeting(relation)}
    first, *others = (list(index.meeting(relation)) for relation in need.all)
    return (p for p in first if p not in excluded and all(p in other for other in others))
