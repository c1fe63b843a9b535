"""Callers that wait are posted together: what arrives for a ledger while a group is written forms the next group.

No timer and no delay: a lone caller is a group of one. The busier a ledger is, the larger its groups, and the cheaper
each posting.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from doppia.accounting.errors import LedgerError, OutcomeUnknown, Overloaded, Unavailable
from doppia.engine.transactions import REWRITES, Command, HeadMovedError, Outcome, post, post_at_once, post_locked
from doppia.engine.writing import Answer, Clock
from doppia.store.database import Database

GROUP_MAX: Final = 256
GROUP_BYTES_MAX: Final = 2_000_000
"""Of requests, after which a group is full, so that large ones don't hold up the small ones behind them."""

WAITING_MAX: Final = 10_000
"""Commands that may wait for one ledger; beyond it a caller is told to come back, before memory runs out."""

WAITING_SECONDS_MAX: Final = 1.0
"""For which a caller may have to wait, as far as it can be foreseen; who would wait longer is told to come back. A full
group may always wait."""

SHARED_SECONDS: Final = 1.0
"""For which a ledger is taken to have writers in other processes, after one of them came in between."""

Waiting = tuple[Command, "asyncio.Future[Answer]"]


@dataclass(slots=True)
class Lane:
    """Those who wait for one ledger, when the group under way began, and how long the one before it took."""

    began: float
    took_seconds: float = 0.0
    waiting: deque[Waiting] = field(default_factory=deque)

    def is_full(self) -> bool:
        """Say whether one more caller would wait too long."""
        if len(self.waiting) < min(GROUP_MAX, WAITING_MAX):
            return False
        under_way_seconds = time.monotonic() - self.began
        before_seconds = len(self.waiting) // GROUP_MAX * self.took_seconds
        return len(self.waiting) >= WAITING_MAX or under_way_seconds + before_seconds > WAITING_SECONDS_MAX


class PostingGroups:
    """The groups of one process: a lane for each ledger that has callers, one group under way in each."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._lanes: dict[int, Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._shared_until: dict[int, float] = {}
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
            lane = self._lanes[ledger] = Lane(time.monotonic())
            task = asyncio.create_task(self._run(ledger, lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif lane.is_full():
            raise Overloaded
        lane.waiting.append((command, answered))
        return await answered

    async def close(self) -> None:
        """Take nothing more, and return when all who wait are answered."""
        self._closing = True
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, ledger: int, lane: Lane) -> None:
        group: list[Waiting] = []
        try:
            while lane.waiting:
                group.clear()
                lane.began = time.monotonic()
                _answer(group, await self._post_next(group, lane.waiting))
                lane.took_seconds = time.monotonic() - lane.began
        finally:
            # However this ends, nobody is left waiting: the next caller finds no lane and opens one.
            del self._lanes[ledger]
            _answer(group, [OutcomeUnknown()] * len(group))
            _answer(lane.waiting, [Unavailable()] * len(lane.waiting))

    async def _post_next(self, group: list[Waiting], lane: deque[Waiting]) -> Sequence[Outcome]:
        """Move the next of the lane into the group, and post them."""
        ledger = lane[0][0].ledger

        def take() -> Sequence[Command]:
            # Whoever came while the lock was waited for is taken as well.
            _fill(group, lane)
            return [command for command, _ in group]

        try:
            if self._shared_until.get(ledger.ledger, 0) <= time.monotonic():
                self._shared_until.pop(ledger.ledger, None)
                try:
                    outcomes = await post_at_once(self._database, self._clock, take())
                except HeadMovedError:
                    self._shared_until[ledger.ledger] = time.monotonic() + SHARED_SECONDS
                else:
                    if outcomes is not None:
                        return outcomes
            return await post_locked(self._database, self._clock, ledger, take)
        except Exception as failure:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            if not group:
                _fill(group, lane)
            return await self._without(failure, [command for command, _ in group])

    async def _without(self, failure: Exception, commands: Sequence[Command]) -> Sequence[Outcome]:
        if len(commands) == 1 or isinstance(failure, LedgerError):
            return [failure] * len(commands)
        # What the rules accept one after another, a constraint may still refuse at once: two transactions that
        # exchange their external ids, say. One by one they pass, and a fault of ours strikes only its own caller.
        return [await self._post_alone(command) for command in commands]

    async def _post_alone(self, command: Command) -> Outcome:
        try:
            [outcome] = await post(self._database, self._clock, [command])
        except Exception as failure:  # noqa: BLE001
            return failure
        return outcome


def _fill(group: list[Waiting], lane: deque[Waiting]) -> None:
    """Fill a group up with the next of a lane; a second change to one transaction waits for the group after."""
    held_back: list[Waiting] = []
    revised = {command.target.sequence for command, _ in group if isinstance(command, REWRITES)}
    size_bytes = sum(command.size_bytes for command, _ in group)
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


def _answer(group: Iterable[Waiting], outcomes: Sequence[Outcome]) -> None:
    for (_, answered), outcome in zip(group, outcomes, strict=True):
        if answered.done():
            continue
        if isinstance(outcome, Answer):
            answered.set_result(outcome)
        else:
            answered.set_exception(outcome)
