"""The engine of many machines: Dask distributed hands the images to workers that offer an appliance.

Source, output and results lie on storage that all workers share under one path. A worker does an image as the local
engine does (imgfix.batch.job): with its lease, its process and its result file. So it does not matter who asks for it:
when a worker dies, Dask gives the image to another; when the batch dies, a rerun finds what the workers have done.
"""

from __future__ import annotations

import asyncio
import importlib
import secrets
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from imgfix import __version__
from imgfix.batch import job
from imgfix.batch.events import Event, Kind, Listener
from imgfix.batch.image import Image
from imgfix.batch.job import Policy
from imgfix.batch.local import Ran, without_file
from imgfix.batch.result import Result
from imgfix.errors import HostError
from imgfix.interrupt import SIGNALS

#: What a worker must offer: dask worker ADDRESS --resources appliance=1
RESOURCE = "appliance"
#: Seconds to wait for the scheduler, and between two looks at whether the batch was told to stop.
_TIMEOUT, _POLL = 15.0, 2.0
_START = (
    f"start workers that have imgfix installed: dask worker ADDRESS --nthreads 1 --resources {RESOURCE}=1"
)


def run(images: Iterable[Image], policy: Policy, address: str, tell: Listener) -> Ran:
    """Do the images on the workers of the scheduler at `address`. A signal ends what they do, and then this.

    Raises HostError where Dask is not installed, the scheduler cannot be reached, or no worker is fit.
    """
    distributed = _distributed()
    try:
        client = distributed.Client(address, timeout=_TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise HostError(
            f"{address}: no Dask scheduler answers there: {error}",
            hint="start one with `dask scheduler`, and give the address that it prints",
        ) from error
    with client:
        _check_workers(client)
        return _Run(distributed, client, tuple(images), tell).run(policy)


def _distributed() -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise HostError(
            f"Dask distributed is not installed ({error}); --engine dask needs it",
            hint="pip install 'imgfix[dask]'",
        ) from error


def _check_workers(client: Any) -> None:
    """Raise HostError if no worker offers an appliance, or one has another imgfix: their results would not agree."""
    workers: Mapping[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
    fit = [name for name, worker in workers.items() if worker.get("resources", {}).get(RESOURCE)]
    if not fit:
        raise HostError(
            f"{len(workers)} Dask workers, and none of them offers the resource `{RESOURCE}`", hint=_START
        )
    versions: Mapping[str, Any] = client.run(version, workers=fit, on_error="return")
    others = {name: found for name, found in versions.items() if found != __version__}
    if others:
        name, found = next(iter(others.items()))
        raise HostError(
            f"imgfix {__version__} here, and on the worker {name}: {found}",
            hint="install the same version for all workers",
        )


def version() -> str:
    """Return the version of imgfix; called on each worker."""
    return __version__


class _Run:
    def __init__(self, distributed: Any, client: Any, images: tuple[Image, ...], tell: Listener) -> None:
        self._distributed = distributed
        self._client = client
        self._name = f"imgfix-{secrets.token_hex(8)}"
        self._images = {image.name: image for image in images}
        self._tell = tell
        self._lock = threading.Lock()

    def run(self, policy: Policy) -> Ran:
        stop = self._distributed.Event(self._name, client=self._client)
        self._client.subscribe_topic(self._name, self._hear)
        futures = {
            self._client.submit(
                do_image,
                image,
                policy,
                self._name,
                key=f"{self._name}-{image.name}",
                resources={RESOURCE: 1},
                pure=False,
            ): image
            for image in self._images.values()
        }
        results: dict[str, Result] = {}
        with _flag_on_signal(stop) as seen:
            for future in self._distributed.as_completed(futures, loop=self._client.loop, raise_errors=False):
                image = futures[future]
                outcome = self._outcome(future, image)
                if outcome is not None:
                    results[image.name] = outcome
                    self._say(Event(Kind.END, image, result=outcome))
        in_order = tuple(results[name] for name in self._images if name in results)
        return Ran(in_order, bool(seen))

    def _outcome(self, future: Any, image: Image) -> Result | None:
        """The worker's result; None if it was interrupted; a failure of the host if workers died at it."""
        if future.status == "finished":
            found = future.result()
            return found if isinstance(found, Result) else None
        error = future.exception()
        return without_file(image, HostError(f"the Dask workers that did it ended: {error}", hint=_START))

    def _hear(self, event: tuple[float, Mapping[str, str]]) -> None:
        _, told = event
        self._say(Event(Kind(told["kind"]), self._images[told["image"]], told["text"]))

    def _say(self, event: Event) -> None:
        with self._lock:
            self._tell(event)


@contextmanager
def _flag_on_signal(stop: Any) -> Iterator[list[int]]:
    """While inside, a signal sets the flag that the workers look at; they then end their applies."""
    seen: list[int] = []

    def flag(number: int, _: FrameType | None) -> None:
        if not seen:
            threading.Thread(target=stop.set, daemon=True).start()
        seen.append(number)

    old = {number: signal.signal(number, flag) for number in SIGNALS}
    try:
        yield seen
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


class _Worker:
    """A worker does one image at a time, and keeps its place while it pauses."""

    async def pause(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


def do_image(image: Image, policy: Policy, name: str) -> Result | None:
    """Do one image; called on a worker, in a thread. `name` is that of the run's flag and of its topic.

    Returns None if the batch was told to stop.
    """
    distributed = _distributed()
    worker = distributed.get_worker()
    stop = distributed.Event(name)

    def tell(event: Event) -> None:
        # Results go back as such.
        if event.result is None:
            worker.log_event(name, {"kind": event.kind.value, "image": image.name, "text": event.text})

    async def stopped() -> None:
        while not await asyncio.to_thread(stop.is_set):
            await asyncio.sleep(_POLL)

    async def work() -> Result | None:
        tasks = (asyncio.create_task(job.run(image, policy, _Worker(), tell)), asyncio.create_task(stopped()))
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        done = tasks[0].done()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return tasks[0].result() if done else None

    try:
        return asyncio.run(work())
    except Exception as error:
        return without_file(image, error)
