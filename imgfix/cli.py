"""The command line: arguments in, errors to exit codes out. Nothing else knows click, and nothing else exits."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from imgfix import __version__
from imgfix.commands import profiles
from imgfix.commands import telling as tellings
from imgfix.commands.apply import apply
from imgfix.commands.batch import batch
from imgfix.commands.check import check
from imgfix.commands.convert import convert
from imgfix.commands.guest_options import key_option, load, profile_options
from imgfix.commands.options import format_option
from imgfix.commands.paths import FILE
from imgfix.commands.recover import recover
from imgfix.commands.rehearse import rehearse
from imgfix.commands.verify import verify
from imgfix.errors import ExitCode, ImgfixError, ProfileError, UsageError

# Everything heavy (pydantic, rich, the pipeline) is imported by the command that needs it: --help stays quick.
if TYPE_CHECKING:
    from imgfix.progress import Progress

_T = TypeVar("_T", bound=Callable[..., object])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="imgfix")
def cli() -> None:
    """Make any Linux VM image ready for Microsoft Azure without booting it.

    Exit codes: 0 done, 1 a bug of imgfix, 2 usage or profile, 3 guest or image not supported, 4 host not able,
    5 apply failed, 6 not ready, 7 some images of a batch failed, 130 interrupted.
    """


@cli.command(short_help="What is in DISK: distribution, boot, kernels, drivers.")
@click.argument("disk", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Facts as JSON on stdout.")
@format_option
@key_option
def inspect(disk: Path, as_json: bool, image_format: str | None, key_files: tuple[str, ...]) -> None:
    """Show what DISK holds: distribution, boot loader, kernels and their drivers, file systems. Changes nothing."""
    from imgfix import inspection
    from imgfix.interrupt import Interrupts
    from imgfix.keys import read_keys

    keys = read_keys(key_files, os.environ)
    interrupts = Interrupts()
    with interrupts.installed():
        with _progress() as progress:
            found = inspection.inspect(disk, progress, interrupts, keys, image_format)
        inspection.show(found, as_json=as_json)


@cli.command(short_help="Can this host do it? With a remedy for each no.")
@click.option("--json", "as_json", is_flag=True, help="The answers as JSON on stdout.")
@click.option("--no-launch", is_flag=True, help="Leave out the trial launch of the appliance.")
def doctor(as_json: bool, no_launch: bool) -> None:
    """Can this host do it? Each "no" comes with its remedy. Exit 4 if something is missing."""
    from imgfix import checkup

    if not checkup.show(launch=not no_launch, as_json=as_json):
        raise _Exit(ExitCode.HOST)


cli.add_command(apply)
cli.add_command(convert)
cli.add_command(recover)
cli.add_command(batch)
cli.add_command(check)
cli.add_command(verify)
cli.add_command(rehearse)


@cli.group()
def profile() -> None:
    """List, show and validate profiles."""


@profile.command("list")
def profile_list() -> None:
    """List the bundled profiles."""
    from rich.table import Table

    from imgfix import profile_load
    from imgfix.console import standard_output

    table = Table(box=None, pad_edge=False)
    for column in ("name", "guests", "description"):
        table.add_column(column)
    for name in profile_load.bundled_names():
        loaded = profile_load.load(name)
        guests = f"{loaded.match.family} {loaded.match.version}" if loaded.match else "any"
        table.add_row(name, guests, loaded.description)
    standard_output().print(table)


@profile.command("show")
@click.argument("name", metavar="PROFILE", shell_complete=profiles.complete_named)
@click.option(
    "--resolved/--as-written",
    default=True,
    help="Every setting, as `extends` and `--set` make it (the default), or the file itself.",
)
@profile_options
def profile_show(name: str, resolved: bool, mode: str | None, settings: tuple[str, ...]) -> None:
    """Show what `extends` and `--set` make of a profile, or with --as-written its file."""
    import yaml

    if not resolved:
        from imgfix import profile_load

        click.echo(profile_load.find(name).read_text(encoding="utf-8", errors="replace"), nl=False)
        return
    data = load(name, mode, settings).model_dump(mode="json")
    click.echo(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100), nl=False)


@profile.command("validate")
@click.argument(
    "names", nargs=-1, required=True, metavar="PROFILE...", shell_complete=profiles.complete_named
)
def profile_validate(names: Sequence[str]) -> None:
    """Check profiles; errors come with file, line, column, YAML path, and carets under the place."""
    from imgfix import profile_load

    wrong = False
    for name in names:
        try:
            profile_load.load(name)
        except ProfileError as error:
            wrong = True
            _fail(profiles.excerpts(error.message), error.hint)
        else:
            click.echo(f"{name}: valid")
    if wrong:
        raise _Exit(ExitCode.USAGE)


profile.add_command(profiles.schema)
cli.add_command(profiles.published_schema)


@contextmanager
def _progress() -> Iterator[Progress]:
    from imgfix.console import terminal_progress

    with terminal_progress() as progress:
        yield progress


class _Exit(Exception):
    """A command has said all it has to say and ends with this code."""

    def __init__(self, code: ExitCode) -> None:
        self.code = code


def main() -> None:
    """Run the command line; every failure becomes one message on stderr and its exit code."""
    sys.exit(_run())


def _run() -> int:
    try:
        # click gives the code of an Exit back
        status = cli.main(prog_name="imgfix", standalone_mode=False)
    except (_Exit, tellings.Told) as error:
        return error.code
    except UsageError as error:
        _fail(profiles.excerpts(error.message), error.hint)
        return error.exit_code
    except ImgfixError as error:
        _fail(error.message, error.hint)
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted; the source is untouched and nothing was published", None)
        return ExitCode.INTERRUPTED
    except Exception:
        traceback.print_exc()
        _fail(
            "this is a bug of imgfix; the source is untouched and nothing was published", "please report it"
        )
        return ExitCode.BUG
    return status if isinstance(status, int) else ExitCode.DONE


def _fail(message: str, hint: str | None) -> None:
    from imgfix.console import printable

    # https://no-color.org: click does not ask.
    colour = False if os.environ.get("NO_COLOR") else None
    click.secho("error: ", fg="red", bold=True, nl=False, err=True, color=colour)
    click.echo(printable(message), err=True)
    if hint:
        click.secho("hint: ", fg="cyan", bold=True, nl=False, err=True, color=colour)
        click.echo(printable(hint), err=True)
