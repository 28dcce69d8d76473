"""How hypothesis runs here: no example has a deadline, since a test of ours never fails for being slow."""

from __future__ import annotations

from hypothesis import settings

# What is set already knows of CI: there the examples are the same in every run.
settings.register_profile("imgfix", settings(deadline=None))
settings.load_profile("imgfix")
