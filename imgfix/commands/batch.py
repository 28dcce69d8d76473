"""`imgfix batch`: many images, on this machine, on many machines, or one of them by its number."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from imgfix.commands import profiles
from imgfix.errors import UsageError

if TYPE_CHECKING:
    from imgfix.batch.manifest_load import Batch
    from imgfix.batch.session import Ended

#: `--index` without a number: it comes from the scheduler's environment.
FROM_ENVIRONMENT = "environment"


@click.command(short_help="Make many disks ready: a manifest, or all of a folder.")
@click.argument(
    "arguments",
    nargs=-1,
    required=True,
    metavar="MANIFEST | PROFILE DIR OUTDIR",
    shell_complete=profiles.complete_first,
)
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Images at a time at most; default: cores.")
@click.option("--memory", metavar="SIZE", help="Memory for all of them, such as 6GiB; default: what is free.")
@click.option("--retries", type=click.IntRange(0), default=2, show_default=True, metavar="N",
              help="How often an image is tried again where the host is to blame.")  # fmt: skip
@click.option("--retry-failed", is_flag=True, help="Do again also what failed for good in an earlier run.")
@click.option("--force", is_flag=True, help="Replace outputs that no earlier run has made.")
@click.option("--index", is_flag=False, flag_value=FROM_ENVIRONMENT, metavar="[N]",
              help="Do only image N, counted from 0; without N, the number is taken from JOB_COMPLETION_INDEX or "
              "SLURM_ARRAY_TASK_ID.")  # fmt: skip
@click.option("--engine", type=click.Choice(["local", "dask"]), default="local", show_default=True,
              help="Do it on this machine, or on the workers of a Dask cluster.")  # fmt: skip
@click.option("--scheduler", metavar="ADDRESS", help="The Dask scheduler's address: tcp://HOST:8786.")
@click.option("--list", "only_list", is_flag=True, help="Only list the images with their numbers.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting for every image; repeatable."
)
@click.option("--mode", type=click.Choice(["generalized", "specialized"]), help="The mode of every image.")
@click.option("--packages", metavar="DIR", help="Install missing packages from the files in DIR.")
@click.option("--no-network", is_flag=True, help="Never give an appliance a network.")
@click.option("--key", "keys", multiple=True, metavar="FILE", help="Key of encrypted disks; repeatable.")
def batch(
    arguments: tuple[str, ...],
    jobs: int | None,
    memory: str | None,
    retries: int,
    retry_failed: bool,
    force: bool,
    index: str | None,
    engine: str,
    scheduler: str | None,
    only_list: bool,
    **options: object,
) -> None:
    """Prepare many images: those that MANIFEST names, or all in folder DIR by PROFILE, into OUTDIR.

    Run it again after it was interrupted, or to do what is new: what is done and unchanged is skipped. Results, logs
    and summary.html are in OUTDIR/imgfix-batch.

    Exit codes: 0 all done, 7 some failed, 5 none done, 130 interrupted; with --index those of the one image.
    """
    from imgfix.batch import budget, session
    from imgfix.batch.job import Policy

    work = _batch(arguments, **options)  # type: ignore[arg-type]  # as click declares them above
    if only_list:
        _list(work)
        return
    if (engine == "dask") != (scheduler is not None):
        raise UsageError(
            "--engine dask and --scheduler ADDRESS go together", hint="start one with `dask scheduler`"
        )
    policy = Policy(retries=retries, force=force, retry_failed=retry_failed)
    size = budget.parse_size(memory) if memory else None
    if index is not None:
        ended = session.run_one(work, _number(index, len(work.images)), policy)
    elif scheduler is not None:
        ended = session.run_on_cluster(work, policy, scheduler)
    else:
        ended = session.run(work, policy, jobs, size)
    _exit(ended)


def _batch(
    arguments: tuple[str, ...],
    *,
    settings: tuple[str, ...],
    mode: Literal["generalized", "specialized"] | None,
    packages: str | None,
    no_network: bool,
    keys: tuple[str, ...],
) -> Batch:
    from imgfix.batch import manifest_load
    from imgfix.batch.manifest import Options

    here = Path.cwd()
    given = Options(
        mode=mode,
        packages=str(here / packages) if packages else None,
        network=False if no_network else None,
        keys=tuple(str(here / key) for key in keys) or None,
    )
    if len(arguments) == 1:
        return manifest_load.load(Path(arguments[0]), given, settings)
    if len(arguments) == 3:
        profile, folder, output = arguments
        return manifest_load.from_folder(profile, Path(folder), Path(output), given, settings)
    raise UsageError(
        f"MANIFEST, or PROFILE DIR OUTDIR are needed, given: {' '.join(arguments)}",
        hint="imgfix batch --help",
    )


def _list(work: Batch) -> None:
    for image in work.images:
        click.echo(f"{image.index}\t{image.source}\t{image.output}\t{image.profile}")


def _number(index: str, count: int) -> int:
    """Return the number of the image; raises UsageError for what is no number of one."""
    text, origin = index, "--index"
    if index == FROM_ENVIRONMENT:
        names = ("JOB_COMPLETION_INDEX", "SLURM_ARRAY_TASK_ID")
        origin = next((name for name in names if os.environ.get(name)), "")
        if not origin:
            raise UsageError(
                f"--index without a number needs {' or '.join(names)} in the environment",
                hint="give the number: --index 0",
            )
        text = os.environ[origin]
    if not text.isdecimal() or int(text) >= count:
        raise UsageError(
            f"{origin} {text}: the batch has images 0 to {count - 1}", hint="imgfix batch --list shows them"
        )
    return int(text)


def _exit(ended: Ended) -> None:
    if ended.page is not None:
        click.echo(f"summary: {ended.page}", err=not sys.stdout.isatty())
    raise click.exceptions.Exit(int(ended.code))
