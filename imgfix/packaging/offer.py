"""offer: the packages of a local folder, and in words why they do not do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imgfix.packaging.model import AnyOf, Need, Package, Relation, System, When
from imgfix.packaging.solver import Clash, Problem, Solution
from imgfix.packaging.want import Choice, Want
from imgfix.packaging.world import relations

#: Stands for the profile among the packages: it needs what the profile wants, and is no package.
_PROFILE = "the profile"


@dataclass(frozen=True, slots=True)
class Offer:
    """The packages in the folder `where`, as the user named it."""

    where: str
    packages: tuple[Package, ...]


def wanted(wants: Sequence[Want]) -> Package:
    """Return the package that stands for the profile."""
    return Package(
        _PROFILE, "", "", needs=tuple(AnyOf(tuple(map(_relation, want.choices))) for want in wants)
    )


def _relation(choice: Choice) -> Relation:
    operator = ">=" if choice.minimum else ""
    return Relation(choice.name, operator, choice.minimum, exact=True)


def told(solution: Solution, offer: Offer, system: System) -> tuple[str, ...]:
    """Return one line for each problem of a solution that is none."""
    return tuple(_told(problem, offer, system) for problem in solution.problems)


def _told(problem: Problem, offer: Offer, system: System) -> str:
    if isinstance(problem, Clash):
        state = "to be installed" if problem.other.file else "installed"
        return f"{problem.package} conflicts with {problem.other}, which is {state}"
    line = f"{problem.package} needs {problem.need}"
    if not problem.package.file and problem.package.name != _PROFILE:
        line = f"the installed {problem.package} would no longer have {problem.need}"
    if isinstance(problem.need, When):
        return line
    near = _near(problem.need, offer, system)
    return f"{line}; {near}" if near else line


def _near(need: Need, offer: Offer, system: System) -> str:
    """Say what there is of the names in `need`: other versions, other architectures."""
    names = {relation.name for relation in relations(need)}
    if any(name.startswith("rpmlib(") for name in names):
        mine = [package.version for package in system.packages if package.name == "rpm"]
        return f"the guest's rpm is {mine[0]}" if mine else ""
    there = [f"the guest has {p.name} {p.version}" for p in system.packages if p.name in names]
    for package in offer.packages:
        if package.name not in names:
            continue
        if not system.dialect.fits(package):
            there.append(f"{package.file} is for {package.architecture}, the guest is {system.architecture}")
        else:
            there.append(f"{offer.where} has {package.name} {package.version}")
    return ", ".join(there)
