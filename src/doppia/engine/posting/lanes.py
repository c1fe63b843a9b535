"""Callers that wait are posted together: what arrives for a ledger while a group is written forms the next group.

No timer and no delay: a lone caller is a group of one. The busier a ledger is, the larger its groups, and the cheaper
each posting. While the database records a group, the next one is decided upon what that will leave.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Final

from doppia.accounting.errors import LedgerError, OutcomeUnknown, Overloaded, Unavailable
from doppia.engine.posting.commands import REWRITES, Asked, CreateBatch, TransactionCommand
from doppia.engine.posting.group import Decided, HeadMovedError, Outcome, decide, post, post_locked, record
from doppia.engine.posting.replays import replay
from doppia.engine.posting.writing import Caller, Clock
from doppia.store.database.connections import Database
from doppia.store.ledger.ledgers import ConsumedKey

GROUP_MAX: Final = 256
GROUP_BYTES_MAX: Final = 500_000
"""Of requests, after which a group is full, so that large ones don't hold up the small ones behind them."""

WAITING_MAX: Final = 10_000
"""Commands that may wait for one ledger; beyond it a caller is told to come back, before memory runs out."""

WAITING_SECONDS_MAX: Final = 1.0
"""For which a caller may have to wait, as far as it can be foreseen; who would wait longer is told to come back. A full
group may always wait."""

SHARED_SECONDS: Final = 1.0
"""For which a ledger is taken to have writers in other processes, after they came in between."""

MOVED_SECONDS: Final = 0.1
"""Within which somebody has to come in between twice for that."""

BATCH_REPLAYS_MAX: Final = 2
"""Answers of repeated batches that are read again at once."""

Waiting = tuple[Asked, "asyncio.Future[Any]"]


@dataclass(slots=True)
class Posting:
    """A group on its way.

    Attributes:
        decided: what is being recorded; None before its turn has come, and where it is posted under the lock.
        settled: once it is known whether that was recorded.
        stands: whether it was.
        over: once all in the group are as good as answered.
    """

    group: list[Waiting] = field(default_factory=list)
    decided: Decided | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    stands: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def asked(self) -> list[Asked]:
        """Return what was asked, and by whom."""
        return [asked for asked, _ in self.group]

    def settle(self, *, stands: bool) -> None:
        """Let the group after it know whether what was decided is recorded; what is said first holds."""
        if not self.settled.is_set():
            self.stands = stands
            if not stands:
                self.decided = None
            self.settled.set()


@dataclass(slots=True)
class Lane:
    """Those who wait for one ledger, and its groups on their way: two at most.

    Attributes:
        recording: the group whose turn it is.
        deciding: the one after it, which waits for its turn.
        began: when the turn of the latest came.
        took_seconds: how long that of the one before it was.
    """

    ledger: int
    began: float
    took_seconds: float = 0.0
    waiting: deque[Waiting] = field(default_factory=deque)
    recording: Posting | None = None
    deciding: Posting | None = None

    def is_full(self) -> bool:
        """Say whether one more caller would wait too long."""
        if len(self.waiting) < min(GROUP_MAX, WAITING_MAX):
            return False
        under_way_seconds = time.monotonic() - self.began
        before = len(self.waiting) + (len(self.deciding.group) if self.deciding else 0)
        before_seconds = before // GROUP_MAX * self.took_seconds
        return len(self.waiting) >= WAITING_MAX or under_way_seconds + before_seconds > WAITING_SECONDS_MAX

    def is_due(self) -> bool:
        """Say whether it is time for the next group.

        Beside one that is being recorded it is once as many wait, so that the two halves of the callers take turns, and
        never a few and nearly all.
        """
        if not self.waiting or self.deciding is not None:
            return False
        if self.recording is None:
            return True
        return self.recording.decided is not None and len(self.waiting) >= len(self.recording.group)

    def is_empty(self) -> bool:
        """Say whether nobody waits, and nothing is on its way."""
        return not self.waiting and self.recording is None and self.deciding is None

    def size_max(self) -> int:
        """Return how many the next group takes: beside another one, half of all."""
        if self.recording is None:
            return GROUP_MAX
        return min(GROUP_MAX, (len(self.recording.group) + len(self.waiting) + 1) // 2)

    def turn(self, posting: Posting) -> None:
        """Note that it is the turn of the group that was being decided."""
        self.recording, self.deciding = posting, None
        now = time.monotonic()
        self.took_seconds, self.began = now - self.began, now


class PostingGroups:
    """The groups of one process: a lane for each ledger that has callers."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._lanes: dict[int, Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._moved_at: dict[int, float] = {}
        self._shared_until: dict[int, float] = {}
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
        elif lane.is_full():
            raise Overloaded
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        lane.waiting.append((Asked(caller, command), answered))
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
            lane.deciding = Posting()
            task = asyncio.create_task(self._post(lane, lane.deciding, lane.recording))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif lane.is_empty() and self._lanes.get(lane.ledger) is lane:
            # Not if it was closed while the group before still gave its connection back.
            del self._lanes[lane.ledger]

    async def _post(self, lane: Lane, posting: Posting, before: Posting | None) -> None:
        """Form a group, post it after the one before, and answer those in it."""
        _fill(posting.group, lane.waiting, lane.size_max())
        outcomes: Sequence[Outcome] = ()
        try:
            if posting.group:
                outcomes = await self._outcomes(lane, posting, before)
        finally:
            # However this ends, nobody is left waiting.
            posting.settle(stands=False)
            posting.over.set()
            if lane.recording is posting:
                lane.recording = None
            elif lane.deciding is posting:
                lane.deciding = None
                if before is not None:
                    # Its tree has grown by what is given up here: nobody else goes on from it.
                    before.decided = None
            _answer(posting.group, outcomes or [OutcomeUnknown()] * len(posting.group))
            self._go_on(lane)

    async def _outcomes(self, lane: Lane, posting: Posting, before: Posting | None) -> Sequence[Outcome]:
        ledger = posting.group[0][0].command.ledger

        def take() -> Sequence[Asked]:
            # Whoever came while the lock was waited for is taken as well.
            _fill(posting.group, lane.waiting, GROUP_MAX)
            return posting.asked()

        try:
            if self._shared_until.get(lane.ledger, 0) <= time.monotonic():
                decided = await self._post_upon(lane, posting, before)
                if decided is not None:
                    return decided.outcomes
            posting.settle(stands=False)
            if before is not None:
                await before.over.wait()
            if lane.recording is not posting:
                lane.turn(posting)
            return await post_locked(self._database, self._clock, ledger, take)
        except Exception as failure:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            if posting.stands:
                return [OutcomeUnknown()] * len(posting.group)
            posting.settle(stands=False)
            if before is not None:
                await before.over.wait()
            return await self._without(failure, posting.asked())

    async def _post_upon(self, lane: Lane, posting: Posting, before: Posting | None) -> Decided | None:
        """Decide a group upon what the one before it leaves, and record it after that; None where it can't be so."""
        try:
            # No connection is held while its turn is waited for: a ledger whose head is locked takes no more than one.
            async with self._database.connection() as connection:
                asked = posting.asked()
                decided = await decide(connection, self._clock, asked, before.decided if before else None)
            if before is not None:
                await before.settled.wait()
                if not before.stands:
                    return None
            posting.decided = decided
            lane.turn(posting)
            if decided is not None:
                self._go_on(lane)
                async with self._database.connection_to_write() as connection:
                    await record(connection, decided)
                    posting.settle(stands=True)
        except HeadMovedError:
            self._note_moved(lane.ledger)
            return None
        return decided

    def _note_moved(self, ledger: int) -> None:
        now = time.monotonic()
        for past in [ledger for ledger, moved_at in self._moved_at.items() if now - moved_at > SHARED_SECONDS]:
            del self._moved_at[past]
            self._shared_until.pop(past, None)
        if now - self._moved_at.get(ledger, 0) < MOVED_SECONDS:
            self._shared_until[ledger] = now + SHARED_SECONDS
        self._moved_at[ledger] = now

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


def _fill(group: list[Waiting], lane: deque[Waiting], size_max: int) -> None:
    """Fill a group up with the next of a lane; a second change to one transaction waits for the group after."""
    held_back: list[Waiting] = []
    revised = {asked.command.target.sequence for asked, _ in group if isinstance(asked.command, REWRITES)}
    size_bytes = sum(asked.command.size_bytes for asked, _ in group)
    while lane and len(group) < size_max and size_bytes < GROUP_BYTES_MAX:
        waiting = lane.popleft()
        command = waiting[0].command
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
        if isinstance(outcome, Exception):
            answered.set_exception(outcome)
        else:
            answered.set_result(outcome)
