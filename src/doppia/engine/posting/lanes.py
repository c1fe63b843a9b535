"""Callers that wait are posted together: what arrives for a ledger while a group is written forms the next group.

No timer and no delay: a lone caller is a group of one. The busier a ledger is, the larger its groups, and the cheaper
each posting. While the database records a group, the next one is decided upon what that will leave.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any, Final

from doppia.accounting.errors import LedgerError, OutcomeUnknown, Overloaded, Unavailable
from doppia.engine.posting.commands import Asked, CreateBatch, TransactionCommand
from doppia.engine.posting.group import HeadMovedError, Outcome, decide, post, post_locked, record
from doppia.engine.posting.replays import replay
from doppia.engine.posting.stages import GroupUnderWay, Lane, OtherWriters, Stage, Waiter
from doppia.engine.posting.writing import Caller, Clock
from doppia.store.database.connections import Database
from doppia.store.ledger.ledgers import ConsumedKey

BATCH_REPLAYS_MAX: Final = 2
"""At most this many answers of repeated batches are read again at once."""


class PostingGroups:
    """The groups of one process: a lane for each ledger that has callers."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._lanes: dict[int, Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._others = OtherWriters()
        self._batch_replays = asyncio.Semaphore(BATCH_REPLAYS_MAX)
        self._closing = False

    async def submit(self, caller: Caller, command: TransactionCommand[Any]) -> Any:
        """Post a command with whoever waits for the same ledger, and return its result once it is durable.

        Raises:
            LedgerError: it is refused, or the service can't answer.
        """
        if self._closing:
            raise Unavailable
        ledger = command.ledger.number
        lane = self._lanes.get(ledger)
        if lane is None:
            lane = self._lanes[ledger] = Lane(ledger, time.monotonic())
        elif lane.is_full(time.monotonic()):
            raise Overloaded
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        lane.waiting.append(Waiter(Asked(caller, command), answered))
        self._go_on(lane)
        outcome = await answered
        if not isinstance(outcome, ConsumedKey):
            return outcome
        # By the caller's own task: nobody in the group or after it waits for that.
        async with self._batch_replays if isinstance(command, CreateBatch) else nullcontext():
            return await replay(self._database, command, outcome)

    async def close(self) -> None:
        """Take nothing more, and return when all who wait are answered."""
        self._closing = True
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _go_on(self, lane: Lane) -> None:
        """Send the next group of a lane on its way if it is time, and close a lane that is done."""
        if lane.is_due():
            # It is filled when those have run who are ready now.
            task = asyncio.create_task(self._post(lane, lane.begin()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif lane.is_empty() and self._lanes.get(lane.ledger) is lane:
            # Not if it was closed while the group before still gave its connection back.
            del self._lanes[lane.ledger]

    async def _post(self, lane: Lane, group: GroupUnderWay) -> None:
        """Fill a group, post it after the one before, and answer those in it."""
        lane.fill(group)
        outcomes: Sequence[Outcome] = ()
        try:
            if group.waiters:
                outcomes = await self._outcomes(lane, group)
        finally:
            # However this ends, nobody is left waiting.
            lane.leave(group)
            _answer(group.waiters, outcomes or [OutcomeUnknown()] * len(group.waiters))
            self._go_on(lane)

    async def _outcomes(self, lane: Lane, group: GroupUnderWay) -> Sequence[Outcome]:
        def take() -> Sequence[Asked]:
            # Whoever came while the lock was waited for is taken as well.
            lane.fill(group)
            return group.asked()

        try:
            if not self._others.write_to(lane.ledger, time.monotonic()):
                outcomes = await self._post_upon(lane, group)
                if outcomes is not None:
                    return outcomes
            await self._begin_anew(lane, group)
            return await post_locked(self._database, self._clock, group.waiters[0].asked.command.ledger, take)
        except Exception as failure:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            if group.stage is Stage.RECORDED:
                return [OutcomeUnknown()] * len(group.waiters)
            await self._begin_anew(lane, group)
            return await self._without(failure, group.asked())

    async def _post_upon(self, lane: Lane, group: GroupUnderWay) -> Sequence[Outcome] | None:
        """Decide a group upon what the one before it leaves, and record it after that; None where it can't be so."""
        before = group.before
        try:
            # No connection is held while its turn is waited for: a ledger whose head is locked takes no more than one.
            async with self._database.connection() as connection:
                decided = await decide(connection, self._clock, group.asked(), before.decided if before else None)
            if decided is None:
                return None
            if before is not None:
                await before.outcome_known.wait()
                if before.stage is not Stage.RECORDED:
                    return None
            lane.record(group, decided, time.monotonic())
            self._go_on(lane)
            async with self._database.connection_to_write() as connection:
                await record(connection, decided)
                lane.recorded(group)
        except HeadMovedError:
            self._others.note(lane.ledger, time.monotonic())
            return None
        return decided.outcomes

    async def _begin_anew(self, lane: Lane, group: GroupUnderWay) -> None:
        """Give up what was decided about a group, and wait until it is alone."""
        lane.void(group)
        if group.before is not None:
            await group.before.answered.wait()
        lane.post_anew(group, time.monotonic())

    async def _without(self, failure: Exception, asked: Sequence[Asked]) -> Sequence[Outcome]:
        if len(asked) == 1 or isinstance(failure, LedgerError):
            return [failure] * len(asked)
        # What the rules accept one after another, a constraint may still refuse at once: two transactions that
        # exchange their external ids, say. One by one they pass, and a fault of ours strikes only its own caller.
        return [await self._post_alone(one) for one in asked]

    async def _post_alone(self, asked: Asked) -> Outcome:
        try:
            [outcome] = await post(self._database, self._clock, [asked])
        except Exception as failure:  # noqa: BLE001
            return failure
        return outcome


def _answer(waiters: Iterable[Waiter], outcomes: Sequence[Outcome]) -> None:
    for waiter, outcome in zip(waiters, outcomes, strict=True):
        if waiter.answered.done():
            continue
        if isinstance(outcome, Exception):
            waiter.answered.set_exception(outcome)
        else:
            waiter.answered.set_result(outcome)
