"""Reads that wait are done together: what is asked of a ledger while one statement runs is asked by the next.

No timer and no delay: a lone reader is a group of one. Each group asks the database after the last of it has come, so
every reader sees what was acknowledged before.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Generic, TypeAlias, TypeVar

from doppia.store.database.connections import Connection, Database

GROUP_MAX: Final = 256

T = TypeVar("T")
Waiting: TypeAlias = tuple[int, asyncio.Future[T | None]]


class ReadingGroups(Generic[T]):
    """The groups of one process and one kind of object; in each ledger one statement runs at a time."""

    def __init__(
        self, database: Database, get_many: Callable[[Connection, int, Sequence[int]], Awaitable[Mapping[int, T]]]
    ) -> None:
        self._database = database
        self._get_many = get_many
        self._lanes: dict[int, list[Waiting[T]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, ledger: int, sequence: int) -> T | None:
        """Return an object, with whoever asks for others of the same ledger; None where there is none.

        Raises:
            Unavailable: the database can't be reached.
        """
        lane = self._lanes.get(ledger)
        if lane is None:
            lane = self._lanes[ledger] = []
            # It begins when those have run who are ready now.
            task = asyncio.create_task(self._run(ledger, lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        found: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        lane.append((sequence, found))
        return await found

    async def _run(self, ledger: int, lane: list[Waiting[T]]) -> None:
        try:
            while lane:
                group, lane[:] = lane[:GROUP_MAX], lane[GROUP_MAX:]
                await self._read(ledger, group)
        finally:
            del self._lanes[ledger]

    async def _read(self, ledger: int, group: Sequence[Waiting[T]]) -> None:
        try:
            async with self._database.connection() as connection:
                objects = await self._get_many(connection, ledger, [sequence for sequence, _ in group])
        except Exception as failure:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            for _, found in group:
                if not found.done():
                    found.set_exception(failure)
        else:
            for sequence, found in group:
                if not found.done():
                    found.set_result(objects.get(sequence))
