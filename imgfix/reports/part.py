"""What all published models share: closed, immutable, and texts as the guest has them.

Texts from the guest are as they are in it, but for bytes that are no UTF-8, which are written `\\xNN`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict


def visible(text: str) -> str:
    """Make bytes that are no UTF-8 visible: the guest's names may have any."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


Text = Annotated[str, BeforeValidator(lambda value: visible(value) if isinstance(value, str) else value)]


class Part(BaseModel):
    """Base of all parts of a report: closed and immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid")
