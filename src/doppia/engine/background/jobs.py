"""Jobs: while the service runs, each is run again and again, after a pause or at once when there is work."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog

from doppia.accounting.errors import TryAgain

PAUSE_SECONDS: Final = 1.0
"""A job rests this long before it looks for work again. So what becomes due is done that much later at most."""

Job = Callable[[], Awaitable[object]]
"""One run of a job finds all work that there is, also what another process left half done."""

_log = structlog.get_logger()


class Background:
    """The jobs of one process."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._wakings: list[asyncio.Event] = []

    def start(self, *jobs: Job) -> None:
        """Run each job from now on, one run after the other, with `PAUSE_SECONDS` between them."""
        for job in jobs:
            waking = asyncio.Event()
            self._wakings.append(waking)
            self._tasks.append(asyncio.create_task(_repeat(job, waking)))

    def start_every(self, seconds: float, job: Job) -> None:
        """Run a job from now on with this pause between its runs. `wake` does not shorten the pause."""
        self._tasks.append(asyncio.create_task(_repeat(job, asyncio.Event(), seconds)))

    def wake(self) -> None:
        """Let the jobs that `start` began look for work now."""
        for waking in self._wakings:
            waking.set()

    async def stop(self) -> None:
        """End the jobs where they are. No work is lost, because each of their steps is done whole or not at all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _name(job: Job) -> str:
    return str(getattr(job, "func", job).__qualname__)


async def _repeat(job: Job, waking: asyncio.Event, pause_seconds: float = PAUSE_SECONDS) -> None:
    while True:
        waking.clear()
        try:
            await job()
        except TryAgain:
            _log.info("the database is away; a job waits for it", job=_name(job))
        except OSError as error:
            _log.error("a job could not do all its work, and tries again", job=_name(job), reason=str(error))
        except Exception:  # noqa: BLE001 - a job that failed is tried again, and the log says why it failed
            _log.exception("a job failed", job=_name(job))
        with suppress(TimeoutError):
            # `wait_for` of Python 3.11 is not used: where a task is woken and cancelled at once, it is not cancelled.
            async with asyncio.timeout(pause_seconds):
                await waking.wait()
