"""Callers that wait are posted together: what arrives for a ledger while a group is written forms the next group.

No timer and no delay: a lone caller is a group of one. The busier a ledger is, the larger its groups, and the cheaper
each posting.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from doppia.accounting.errors import LedgerError, OutcomeUnknown, Overloaded, Unavailable
from doppia.engine.transactions import REWRITES, Command, Outcome, post
from doppia.engine.writing import Answer, Clock
from doppia.store.database import Database

GROUP_MAX: Final = 256
GROUP_BYTES_MAX: Final = 2_000_000
"""Of requests, after which a group is full, so that large ones don't hold up the small ones behind them."""

WAITING_MAX: Final = 10_000
"""Commands that may wait for one ledger; beyond it a caller is told to come back, before memory runs out."""

Waiting = tuple[Command, "asyncio.Future[Answer]"]


class PostingGroups:
    """The groups of one process: a lane for each ledger that has callers, one group under way in each."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._lanes: dict[int, deque[Waiting]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    async def submit(self, command: Command) -> Answer:
        """Post a command with whoever waits for the same ledger, and return its answer once it is durable.

        Raises:
            LedgerError: it is refused, or the service can't answer.
        """
        if self._closing:
            raise Unavailable
        ledger = command.ledger.ledger
        lane = self._lanes.get(ledger)
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if lane is None:
            lane = self._lanes[ledger] = deque()
            task = asyncio.create_task(self._run(ledger, lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif len(lane) >= WAITING_MAX:
            raise Overloaded
        lane.append((command, answered))
        return await answered

    async def close(self) -> None:
        """Take nothing more, and return when all who wait are answered."""
        self._closing = True
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, ledger: int, lane: deque[Waiting]) -> None:
        group: list[Waiting] = []
        try:
            while lane:
                group = _take(lane)
                _answer(group, await self._post([command for command, _ in group]))
        finally:
            # However this ends, nobody is left waiting: the next caller finds no lane and opens one.
            del self._lanes[ledger]
            _answer(group, [OutcomeUnknown()] * len(group))
            _answer(lane, [Unavailable()] * len(lane))

    async def _post(self, commands: Sequence[Command]) -> Sequence[Outcome]:
        try:
            return await post(self._database, self._clock, commands)
        except Exception as failure:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            if len(commands) == 1 or isinstance(failure, LedgerError):
                return [failure] * len(commands)
        # What the rules accept one after another, a constraint may still refuse at once: two transactions that
        # exchange their external ids, say. One by one they pass, and a fault of ours strikes only its own caller.
        return [outcome for command in commands for outcome in await self._post([command])]


def _take(lane: deque[Waiting]) -> list[Waiting]:
    """Take the next group; a second change to one transaction waits for the group after."""
    group: list[Waiting] = []
    held_back: list[Waiting] = []
    revised: set[int] = set()
    size_bytes = 0
    while lane and len(group) < GROUP_MAX and size_bytes < GROUP_BYTES_MAX:
        waiting = lane.popleft()
        command = waiting[0]
        size_bytes += command.size_bytes
        if isinstance(command, REWRITES):
            if command.target.sequence in revised:
                held_back.append(waiting)
                continue
            revised.add(command.target.sequence)
        group.append(waiting)
    lane.extendleft(reversed(held_back))
    return group


def _answer(group: Iterable[Waiting], outcomes: Sequence[Outcome]) -> None:
    for (_, answered), outcome in zip(group, outcomes, strict=True):
        if answered.done():
            continue
        if isinstance(outcome, Answer):
            answered.set_result(outcome)
        else:
            answered.set_exception(outcome)
