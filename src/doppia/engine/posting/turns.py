"""Turns: long computations pause from time to time, so that the event loop serves others."""

import asyncio
import time
from typing import Final

TURN_SECONDS: Final = 0.01
"""A computation pauses after this time."""


class Turns:
    """The turns of one long computation."""

    def __init__(self) -> None:
        self._ends = time.perf_counter() + TURN_SECONDS

    async def give_way(self) -> None:
        """Let others have their turn if this one has been long enough. Call this after each small step."""
        if time.perf_counter() >= self._ends:
            await asyncio.sleep(0)
            self._ends = time.perf_counter() + TURN_SECONDS
