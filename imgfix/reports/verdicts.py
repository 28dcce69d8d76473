"""The requirements in a report: for each what was right already, what was changed for it, and what is advised. Pure.

The tables are those of `imgfix check`, so that both say the same of one guest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imgfix.change import Advice, Noop
from imgfix.disk.size import describe
from imgfix.facts.model import Facts
from imgfix.plan import Item
from imgfix.readiness.judge import act_of
from imgfix.readiness.requirements import SILENT, TITLES, requirements_of
from imgfix.reports import model
from imgfix.wording import told, without_place

#: The host's own matter, which says nothing of the image.
_NOT_OF_IMAGES = "R11"


def verdicts(
    items: Sequence[Item], facts: Facts, size: int, warnings: Sequence[str]
) -> tuple[model.Verdict, ...]:
    """Return the verdicts on an apply that went well, in the order of the requirements.

    `items` are all that was planned, `facts` those of the guest as it came; `size` in bytes and `warnings` are the
    disk's.
    """
    of = [(requirement, item) for item in items for requirement in _requirements(item, facts)]
    disk = dict(_of_disk(size, warnings))
    return tuple(
        _verdict(name, [item for requirement, item in of if requirement == name], disk.get(name))
        for name in TITLES
        if name != _NOT_OF_IMAGES
    )


def _requirements(item: Item, facts: Facts) -> tuple[str, ...]:
    decision = item.decision
    if isinstance(decision, Noop):
        return requirements_of(item.step, f": {decision.reason}".lstrip(), facts)
    if isinstance(decision, Advice):
        return requirements_of(item.step, f": {decision.text}".lstrip(), facts)
    action, target = act_of(decision)
    words = f"{action.value} {target}: {without_place(decision.reason, target)}"
    return requirements_of(item.step, words, facts)


def _of_disk(size: int, warnings: Sequence[str]) -> Iterator[tuple[str, tuple[str, Sequence[str]]]]:
    """What apply writes is right by its making; the size may be one to think about."""
    yield "R1", ("written as a fixed VHD, its footer checked", ())
    yield "R4", (describe(size), warnings)
    yield "R8", (describe(size), ())
    yield "R25", ("the commands are in this report", ())


def _verdict(name: str, items: Sequence[Item], disk: tuple[str, Sequence[str]] | None) -> model.Verdict:
    right = [i.decision.reason for i in items if isinstance(i.decision, Noop)]
    advice = [i.decision.text for i in items if isinstance(i.decision, Advice)]
    changes = [told(i.decision) for i in items if not isinstance(i.decision, Noop | Advice)]
    if disk is not None:
        right, advice = [disk[0], *right], [*disk[1], *advice]
    if not (right or advice or changes):
        right = [SILENT[name]]
    return model.Verdict(
        id=name,
        title=TITLES[name],
        outcome="changed" if changes else "advice" if advice else "right",
        right=tuple(dict.fromkeys(right)),
        changes=tuple(
            dict.fromkeys(
                model.Change.model_validate({"verb": c.verb, "what": c.what, "why": c.why}) for c in changes
            )
        ),
        advice=tuple(dict.fromkeys(advice)),
    )
