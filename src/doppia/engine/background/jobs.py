"""What the service does by itself: jobs that run again and again while it serves, and at once when there is work."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog

from doppia.accounting.errors import TryAgain

PAUSE_SECONDS: Final = 1.0
"""How long a job rests before it looks for work again; what falls due is done that much later at most."""

Job = Callable[[], Awaitable[object]]

_log = structlog.get_logger()


class Background:
    """The jobs of one process. Each finds all work there is, also what another process left half done."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._wakings: list[asyncio.Event] = []

    def start(self, *jobs: Job) -> None:
        """Run each job from now on, one run after the other."""
        for job in jobs:
            waking = asyncio.Event()
            self._wakings.append(waking)
            self._tasks.append(asyncio.create_task(_repeat(job, waking)))

    def start_every(self, seconds: float, job: Job) -> None:
        """Run a job from now on with this pause; it is not woken."""
        self._tasks.append(asyncio.create_task(_repeat(job, asyncio.Event(), seconds)))

    def wake(self) -> None:
        """Let the jobs look for work now."""
        for waking in self._wakings:
            waking.set()

    async def stop(self) -> None:
        """End the jobs where they are: what they do is done in steps of which each is whole."""
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
        except Exception:  # noqa: BLE001 - a job that fails once is tried again, and the log says why
            _log.exception("a job failed", job=_name(job))
        with suppress(TimeoutError):
            # Not `wait_for`: in Python 3.11 it forgets that it is told to stop when it is woken at the same time.
            async with asyncio.timeout(pause_seconds):
                await waking.wait()
