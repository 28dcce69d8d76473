"""The folder one disk is built in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .root import Bootstrap, Root, bootstrap

TREES = Path(__file__).parent / "trees"


@dataclass(frozen=True, slots=True)
class Workshop:
    """`disk` is where the recipe leaves the result; `folder` vanishes afterwards."""

    cache: Path
    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "disk.raw"

    def bootstrap(self, spec: Bootstrap) -> Root:
        return bootstrap(spec, self.cache, self.folder / "root")
