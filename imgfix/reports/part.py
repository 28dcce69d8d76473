"""What all published models share: closed, immutable, and texts as the guest has them.

Texts from the guest are as they are in it, but for bytes that are no UTF-8, which are written `\\xNN`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _valid(text: object) -> object:
    """Make bytes that are no UTF-8 visible: the guest's names may have any."""
    if not isinstance(text, str):
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


Text = Annotated[str, BeforeValidator(_valid)]


class Part(BaseModel):
    """Base of all parts of a report: closed and immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid")
