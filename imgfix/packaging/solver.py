"""solver: which packages of a folder must be installed so that everything wanted is there and fits together.

A search that goes back where a choice leads nowhere. It prefers what is installed, then the first of several
alternatives, then the newest version, and takes nothing that is not needed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from imgfix.packaging.model import AllOf, AnyOf, Need, OneWith, Package, Relation, System, When
from imgfix.packaging.world import Index, World, both, given

#: Steps of the search; a folder whose packages fit takes about one for each package that is installed.
MOST_STEPS = 5_000


@dataclass(frozen=True, slots=True)
class Unmet:
    """`package` needs something that nothing there gives."""

    package: Package
    need: Need


@dataclass(frozen=True, slots=True)
class Clash:
    """`package` may not be there besides `other`."""

    package: Package
    other: Package


Problem = Unmet | Clash


@dataclass(frozen=True, slots=True)
class Solution:
    """`chosen` are to be installed, `gone` are what they replace; or `problems` say why there is none."""

    chosen: tuple[Package, ...] = ()
    gone: tuple[Package, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _State:
    world: World
    chosen: tuple[Package, ...]
    gone: tuple[Package, ...] = field(default=())


def solve(
    wanted: Package,
    system: System,
    offered: Iterable[Package],
    *,
    without: Iterable[Package] = (),
    canonical: Callable[[str], str] = lambda path: path,
) -> Solution:
    """Choose from `offered` what meets the needs of `wanted`, which stands for the profile and is no package.

    `without` are installed packages that will have been removed. With no solution, `problems` holds all that is
    in the way of the preferred one.
    """
    search = _Search(
        wanted, system, [package for package in offered if system.dialect.fits(package)], canonical
    )
    start = _State(search.installed.changed(add=(wanted,), remove=without), (wanted,))
    found = search.run(start)
    if found is None:
        return Solution(problems=search.explain(start))
    return Solution(tuple(package for package in found.chosen if package is not wanted), found.gone)


def _is_told(problem: Problem, told: list[Problem]) -> bool:
    """Tell whether a problem is among those told; a clash is one, from whichever side."""
    return problem in told or (isinstance(problem, Clash) and Clash(problem.other, problem.package) in told)


class _Search:
    def __init__(
        self, wanted: Package, system: System, offered: list[Package], canonical: Callable[[str], str]
    ) -> None:
        self._dialect = system.dialect
        self._offered = frozenset(offered)
        self._index = Index(system.dialect, (wanted, *system.packages, *offered), canonical)
        self.installed = World(self._index, frozenset(system.packages))

    def run(self, start: _State) -> _State | None:
        """Return a state without problems, or None. Depth first; each iterator holds one package's alternatives."""
        open_choices: list[Iterator[_State]] = [iter((start,))]
        for _ in range(MOST_STEPS):
            if not open_choices:
                return None
            state = next(open_choices[-1], None)
            if state is None:
                open_choices.pop()
                continue
            problem = next(self._problems(state), None)
            if problem is None:
                return state
            open_choices.append(self._ways_out(state, problem))
        return None

    def explain(self, state: _State) -> tuple[Problem, ...]:
        """Go the preferred way to its end, passing over what cannot be solved, and return that."""
        unsolved: list[Problem] = []
        for _ in range(MOST_STEPS):
            problem = next((p for p in self._problems(state) if not _is_told(p, unsolved)), None)
            if problem is None:
                break
            following = next(self._ways_out(state, problem), None)
            if following is None:
                unsolved.append(problem)
            else:
                state = following
        return tuple(unsolved)

    def _problems(self, state: _State) -> Iterator[Problem]:
        for package in state.chosen:
            for need in (*package.first, *package.needs):
                if not state.world.holds(need):
                    yield Unmet(package, need)
            for other in state.world.clashes(package):
                yield Clash(package, other)
        for package in state.gone:
            yield from self._left_behind(state, package)

    def _left_behind(self, state: _State, gone: Package) -> Iterator[Problem]:
        """Yield what installed packages had of `gone` and now miss; what they missed before is not our doing."""
        names = {provided.name for provided in given(gone)} | {*map(self._index.canonical, gone.files)}
        for package in dict.fromkeys(user for name in names for user in self._index.users.get(name, ())):
            if package in state.world and package not in state.chosen:
                for need in (*package.first, *package.needs):
                    if not state.world.holds(need) and self.installed.holds(need):
                        yield Unmet(package, need)

    def _ways_out(self, state: _State, problem: Problem) -> Iterator[_State]:
        if isinstance(problem, Unmet):
            candidates = self._options(state.world, problem.need)
            needy = problem.package
        else:
            candidates, needy = [], problem.other
        if (
            needy not in state.chosen
        ):  # another version of what is installed may need less, or clash with less
            candidates = [*candidates, *self._newest_first(self._index.named[needy.name])]
        for candidate in dict.fromkeys(candidates):
            following = self._with(state, candidate)
            if following is not None:
                yield following

    def _options(self, world: World, need: Need) -> list[Package]:
        """Return what may be installed to meet `need`, best first."""
        match need:
            case Relation():
                found = self._newest_first(self._index.meeting(need))
                return sorted(found, key=lambda package: package.name != need.name)
            case AnyOf(needs):
                return [package for one in needs for package in self._options(world, one)]
            case AllOf(needs):
                return next((self._options(world, one) for one in needs if not world.holds(one)), [])
            case When():
                branch = world.branch(need)
                return [] if branch is None else self._options(world, branch)
            case OneWith():
                return self._newest_first(both(self._index, need))

    def _newest_first(self, packages: Iterable[Package]) -> list[Package]:
        def order(one: Package, other: Package) -> int:
            if one.name != other.name or one.version == other.version:
                return 0
            return -1 if self._dialect.sorts_after(one.version, other.version) else 1

        return sorted((p for p in packages if p in self._offered), key=functools.cmp_to_key(order))

    def _with(self, state: _State, new: Package) -> _State | None:
        """Return the state with `new` installed; None for a downgrade, or in place of a chosen package."""
        if new in state.world:
            return None
        gone = [
            old
            for old in self._index.named[new.name]
            if old in state.world and self._dialect.replaces(new, old)
        ]
        if not all(self._dialect.sorts_after(new.version, old.version) for old in gone):
            return None
        gone += [
            old
            for obsolete in new.obsoletes
            for old in self._index.named.get(obsolete.name, ())
            if old in state.world
            and old.name != new.name
            and self._dialect.meets(Relation(old.name, "=", old.version), obsolete)
        ]
        if any(old in state.chosen for old in gone):
            return None
        world = state.world.changed(add=(new,), remove=gone)
        return _State(world, (*state.chosen, new), (*state.gone, *gone))
