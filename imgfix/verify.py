"""Proof after the work: planned again from fresh facts, nothing may be left to do."""

from __future__ import annotations

from imgfix.change import InstallPackages, Noop, RemovePackages
from imgfix.errors import VerifyError
from imgfix.plan import Item, Plan


def require_settled(again: Plan) -> None:
    """Raise VerifyError if the plan made after applying still holds a change."""
    left = [f"  {item.step}: {describe(item)}" for item in again.changes]
    if left:
        raise VerifyError(
            "the guest is not as planned after all changes were made; still to do:\n" + "\n".join(left),
            hint="this is a defect of imgfix or of the guest's own generator; nothing was published",
        )


def describe(item: Item) -> str:
    """Return one line for a decision: what, where and why."""
    decision = item.decision
    if isinstance(decision, Noop):
        return decision.reason
    what = (
        getattr(decision, "path", None)
        or getattr(decision, "target", None)
        or getattr(decision, "device", "")
    )
    if isinstance(decision, InstallPackages | RemovePackages):
        what = ", ".join(decision.packages)
    return f"{type(decision).__name__} {what}: {getattr(decision, 'reason', getattr(decision, 'text', ''))}"
