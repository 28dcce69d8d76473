"""One image of a batch, and how `imgfix apply` is called for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from imgfix.batch.manifest import Setting


@dataclass(frozen=True, slots=True)
class Image:
    """One image: all paths are absolute. `name` is the output's file name and names the result's files."""

    index: int
    name: str
    source: Path
    output: Path
    results: Path
    profile: str
    settings: tuple[str, ...] = ()
    mode: str | None = None
    packages: Path | None = None
    network: bool = True
    keys: tuple[Path, ...] = ()

    @property
    def log(self) -> Path:
        """What its applies printed, one after the other."""
        return self.results / f"{self.name}.log"

    @property
    def report(self) -> Path:
        """The page of its last apply: what was changed, and why; or what failed."""
        return self.results / f"{self.name}.report.html"

    @property
    def result(self) -> Path:
        """The result, which a rerun goes by."""
        return self.results / f"{self.name}.json"

    @property
    def lease(self) -> Path:
        """Held by whoever works on it."""
        return self.results / f".{self.name}.lease"

    def arguments(self, *, force: bool) -> tuple[str, ...]:
        """Return the arguments of imgfix that do this image; `force` replaces an existing output."""
        words = ["apply", self.profile, str(self.source), "-o", str(self.output)]
        words += [word for setting in self.settings for word in ("--set", setting)]
        words += ["--mode", self.mode] if self.mode else []
        words += ["--packages", str(self.packages)] if self.packages else []
        words += [] if self.network else ["--no-network"]
        words += [word for key in self.keys for word in ("--key", str(key))]
        words += ["--report", str(self.report), "--progress", "plain"]
        return (*words, *(["--force"] if force else []))


def setting_words(settings: dict[str, Setting]) -> tuple[str, ...]:
    """Return a manifest's `set` as --set takes it; JSON's values are YAML's."""
    return tuple(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in settings.items())
