"""imgfix check and imgfix verify: a disk previewed, judged and shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imgfix.console import readers_may_leave, standard_output, terminal_progress
from imgfix.disk.source import open_source
from imgfix.errors import GuestError, ImageError, VerifyError
from imgfix.interrupt import Interrupts
from imgfix.keys import Key
from imgfix.preview import Wish, preview
from imgfix.profile import Profile
from imgfix.readiness import view
from imgfix.readiness.judge import judge
from imgfix.readiness.model import Readiness
from imgfix.suits import Auto


def check(
    profile: Profile | Auto,
    disk: Path,
    keys: Sequence[Key] = (),
    packages: Path | None = None,
    image_format: str | None = None,
    *,
    all_checked: bool = False,
) -> Readiness:
    """Return the verdict on `disk`, which is opened read-only; `all_checked` has every file system checked.

    Raises ImgfixError where there is nothing to judge: no disk image, no Linux in it, no profile for it.
    """
    interrupts = Interrupts()
    with interrupts.installed(), terminal_progress() as progress:
        wish = Wish(profile, disk, tuple(keys), packages, image_format, all_checked)
        return judge(preview(wish, progress, interrupts))


def verify(profile: Profile | Auto, disk: Path, keys: Sequence[Key] = ()) -> Readiness:
    """Return the verdict on a finished VHD, every file system in it checked.

    Raises VerifyError also for what cannot even be opened: a damaged footer, a truncated file, no Linux in it.
    """
    try:
        source = open_source(disk)
        if source.footer is None:
            raise VerifyError(
                f"{disk}: this is a {source.format.value}, and a fixed VHD is needed here",
                hint="imgfix apply makes a VHD of it; imgfix check tells how it stands",
            )
        return check(profile, disk, keys, all_checked=True)
    except (ImageError, GuestError) as error:
        raise VerifyError(error.message, hint=error.hint) from error


def show(readiness: Readiness, *, as_json: bool, verbose: bool) -> None:
    """Print the verdict on stdout."""
    with readers_may_leave():
        if as_json:
            print(readiness.model_dump_json(indent=2))
        else:
            view.show(standard_output(), readiness, verbose=verbose)
