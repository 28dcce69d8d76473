"""Fixed binary structures as tables: a NamedTuple whose annotations carry the struct codes. Pure."""

from __future__ import annotations

import struct
from typing import NamedTuple, get_type_hints


def layout_of(fields: type[NamedTuple], order: str) -> struct.Struct:
    """Return the Struct of `fields`, in which each row reads `name: Annotated[type, code]`.

    `order` is struct's sign of the byte order: ">" or "<".
    """
    codes = (hint.__metadata__[0] for hint in get_type_hints(fields, include_extras=True).values())
    return struct.Struct(order + "".join(codes))
