"""Images in a folder of their own, and what open_source says of those that it refuses."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from imgfix.disk.source import open_source
from imgfix.errors import ExitCode, ImgfixError
from tests.disk.images import image


def made(kind: str, raw: Path) -> Path:
    return image(kind, raw, raw.with_name("in.img"))


def refusal(path: Path, as_format: str | None = None) -> ImgfixError:
    with pytest.MonkeyPatch.context() as patched:

        def started(*_: object, **__: object) -> None:
            raise AssertionError("a tool was started")

        patched.setattr(subprocess, "Popen", started)
        with pytest.raises(ImgfixError) as caught:
            open_source(path, as_format, blank=True)
    assert str(path) in caught.value.message
    assert caught.value.exit_code is ExitCode.GUEST
    return caught.value
