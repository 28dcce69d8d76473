"""imgfix profile schema, what PROFILE completes to, and how the place of a profile's mistake is shown."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

#: A file larger than this (bytes) is no profile, and nothing of it is shown.
_MAX_BYTES = 1 << 20
#: As imgfix.published has them, which is heavy to load.
SCHEMAS = (
    "batch-line",
    "batch-result",
    "doctor",
    "inspection",
    "profile",
    "progress",
    "readiness",
    "rehearsal",
    "report",
)


@click.command("schema")
def schema() -> None:
    """Print the JSON schema of profiles, with which editors complete and check them."""
    from imgfix import published

    click.echo(published.schema("profile"), nl=False)


@click.command("schema")
@click.argument("name", type=click.Choice(SCHEMAS), metavar="NAME")
def published_schema(name: str) -> None:
    """Print a published JSON schema.

    \b
    profile       a profile, for editors
    report        apply --report FILE.json
    readiness     check --json and verify --json
    inspection    inspect --json
    doctor        doctor --json
    rehearsal     rehearse --report FILE.json
    progress      a line of apply --progress json
    batch-result  NAME.json in the results of a batch
    batch-line    a line that a batch prints into a pipe
    """
    from imgfix import published

    click.echo(published.schema(name), nl=False)


def complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete PROFILE of a command with a disk: bundled names, `auto`, and files."""
    return _completed(["auto", *names()], incomplete)


def complete_named(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete PROFILE of a command without one, where nothing can be chosen by itself."""
    return _completed(names(), incomplete)


def complete_first(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete PROFILE as the first of several arguments; the others are files."""
    is_first = not context.params.get(parameter.name or "")
    return complete(context, parameter, incomplete) if is_first else _completed([], incomplete)


def names() -> list[str]:
    """Return the bundled profiles' names, sorted. Nothing heavy is loaded for a press of the tab key."""
    package = Path(__file__).parent.parent
    folder = next(f for f in (package / "profiles", package.parent / "profiles") if f.is_dir())
    return sorted(path.stem for path in folder.glob("*.yaml"))


def _completed(names: list[str], incomplete: str) -> list[CompletionItem]:
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return found if "/" not in incomplete and found else [CompletionItem(incomplete, type="file")]


def excerpts(message: str) -> str:
    """Return the message of a ProfileError with the lines that it points at."""
    from imgfix.excerpt import with_excerpts

    return with_excerpts(message, _read)


def _read(name: str) -> str | None:
    try:
        path = Path(name)
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return None
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return None
