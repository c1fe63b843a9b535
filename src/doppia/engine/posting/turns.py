"""Turns: what is long to work out gives way, so that the event loop serves others meanwhile."""

import asyncio
import time
from typing import Final

TURN_SECONDS: Final = 0.01


class Turns:
    """The turns that something long takes."""

    def __init__(self) -> None:
        self._ends = time.perf_counter() + TURN_SECONDS

    async def give_way(self) -> None:
        """Let others have their turn if this one has been long enough; to be called after each small step."""
        if time.perf_counter() >= self._ends:
            await asyncio.sleep(0)
            self._ends = time.perf_counter() + TURN_SECONDS
