"""The lane of one ledger: those who wait for it, and the stages of its groups on their way.

Nothing here reads a clock, asks the database or waits: `lanes.py` does, and says here what has come of it.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final, NamedTuple

from doppia.engine.posting.commands import REWRITES, Asked
from doppia.engine.posting.group import Decided

GROUP_MAX: Final = 256
"""At most this many commands go into one group."""

GROUP_BYTES_MAX: Final = 500_000
"""A group is full once its requests have this many bytes, so that large ones don't hold up the small ones behind."""

WAITING_MAX: Final = 10_000
"""At most this many commands wait for one ledger; who comes then is told to come back, before memory runs out."""

WAITING_SECONDS_MAX: Final = 1.0
"""Who would have to wait longer, as far as it can be foreseen, is told to come back. A full group may always wait."""

SHARED_SECONDS: Final = 1.0
"""A ledger is taken to have writers in other processes for this long after they came in between twice."""

MOVED_SECONDS: Final = 0.1
"""They came in between twice if no more than this lies between."""


class Stage(Enum):
    """What has become of that which was decided about a group.

    ::

        DECIDING ───> RECORDING ───> RECORDED
            │             │
            └──> VOID <───┘

    A group is answered, and has left its lane, after it was RECORDED or VOID.
    """

    DECIDING = auto()
    """It is being decided, upon what the group before it will leave, or waits for that one to be recorded."""

    RECORDING = auto()
    """Its turn has come, and the database is told of it. The next group may be decided upon what it will leave."""

    RECORDED = auto()
    """It is durable."""

    VOID = auto()
    """Nothing that was decided counts, and nobody was told of it: the group before it was not recorded, somebody else
    wrote to the ledger, something failed, or it can be decided under the ledger's lock only. The commands are posted
    anew once the group before is answered; until then no other group is decided."""


class Waiter(NamedTuple):
    """Who waits for the outcome of what he asked: a result, what consumed the key before, or why it is refused."""

    asked: Asked
    answered: "asyncio.Future[Any]"


@dataclass(slots=True, eq=False)
class GroupUnderWay:
    """A group on its way.

    Attributes:
        before: the group that this one is decided upon, until this one has left; None where there was none.
        decided: what is or was recorded; None while the group is deciding, and where it is void.
        outcome_known: set once the group is recorded or void.
        answered: set once all in the group are as good as answered.
    """

    before: "GroupUnderWay | None"
    waiters: list[Waiter] = field(default_factory=list)
    stage: Stage = Stage.DECIDING
    decided: Decided | None = None
    outcome_known: asyncio.Event = field(default_factory=asyncio.Event)
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    def asked(self) -> Sequence[Asked]:
        """Return what was asked, and by whom."""
        return [waiter.asked for waiter in self.waiters]


@dataclass(slots=True, eq=False)
class Lane:
    """Those who wait for one ledger, and its groups on their way: two at most.

    Attributes:
        began: when the turn of the current group came, in seconds of a clock that only goes forward.
        took_seconds: how long the turn of the group before it was.
        current: the group whose turn it is.
        following: the group that is decided upon the current one, and waits for its turn.
    """

    ledger: int
    began: float
    took_seconds: float = 0.0
    waiting: deque[Waiter] = field(default_factory=deque)
    current: GroupUnderWay | None = None
    following: GroupUnderWay | None = None

    def is_full(self, now: float) -> bool:
        """Say whether one more caller would wait too long."""
        if len(self.waiting) < min(GROUP_MAX, WAITING_MAX):
            return False
        under_way_seconds = now - self.began
        before = len(self.waiting) + (len(self.following.waiters) if self.following else 0)
        before_seconds = before // GROUP_MAX * self.took_seconds
        return len(self.waiting) >= WAITING_MAX or under_way_seconds + before_seconds > WAITING_SECONDS_MAX

    def is_due(self) -> bool:
        """Say whether it is time for the next group.

        Beside one that is being recorded it is once as many wait, so that the two halves of the callers take turns, and
        never a few and nearly all.
        """
        if not self.waiting or self.following is not None:
            return False
        if self.current is None:
            return True
        is_known = self.current.stage in (Stage.RECORDING, Stage.RECORDED)
        return is_known and len(self.waiting) >= len(self.current.waiters)

    def is_empty(self) -> bool:
        """Say whether nobody waits, and nothing is on its way."""
        return not self.waiting and self.current is None and self.following is None

    def begin(self) -> GroupUnderWay:
        """Send the next group on its way, since it is due; it is filled later."""
        assert self.following is None, "two groups at most are on their way"
        self.following = GroupUnderWay(self.current)
        return self.following

    def fill(self, group: GroupUnderWay) -> None:
        """Let those who wait into a group that has begun: beside another one, half of all at most."""
        size_max = GROUP_MAX
        if self.current is not None and self.current is not group:
            size_max = min(GROUP_MAX, (len(self.current.waiters) + len(self.waiting) + 1) // 2)
        held_back: list[Waiter] = []
        commands = [asked.command for asked in group.asked()]
        revised = {command.target.sequence for command in commands if isinstance(command, REWRITES)}
        size_bytes = sum(command.size_bytes for command in commands)
        while self.waiting and len(group.waiters) < size_max and size_bytes < GROUP_BYTES_MAX:
            waiter = self.waiting.popleft()
            command = waiter.asked.command
            size_bytes += command.size_bytes
            if isinstance(command, REWRITES):
                # A second change to one transaction waits for the group after.
                if command.target.sequence in revised:
                    held_back.append(waiter)
                    continue
                revised.add(command.target.sequence)
            group.waiters.append(waiter)
        self.waiting.extendleft(reversed(held_back))

    def record(self, group: GroupUnderWay, decided: Decided, now: float) -> None:
        """Give a group that is decided its turn, since the one before it is recorded."""
        assert group.stage is Stage.DECIDING, "a group is recorded once"
        assert group.before is None or group.before.stage is Stage.RECORDED, "what it was decided upon is there"
        group.stage, group.decided = Stage.RECORDING, decided
        self._turn(group, now)

    def recorded(self, group: GroupUnderWay) -> None:
        """Say that a group is recorded, so that the one decided upon it may follow."""
        assert group.stage is Stage.RECORDING, "what is recorded was decided"
        group.stage = Stage.RECORDED
        group.outcome_known.set()

    def void(self, group: GroupUnderWay) -> None:
        """Say that what was decided about a group, and upon it, does not count."""
        assert group.stage is not Stage.RECORDED, "what is recorded stays so"
        group.stage, group.decided = Stage.VOID, None
        group.outcome_known.set()

    def post_anew(self, group: GroupUnderWay, now: float) -> None:
        """Give a group that is void its turn, since the one before it is answered."""
        assert group.stage is Stage.VOID, "all others are recorded as they were decided"
        assert group.before is None or group.before.answered.is_set(), "it is alone"
        if self.current is not group:
            self._turn(group, now)

    def _turn(self, group: GroupUnderWay, now: float) -> None:
        assert self.following is group, "groups have their turns in order"
        self.current, self.following = group, None
        self.took_seconds, self.began = now - self.began, now

    def leave(self, group: GroupUnderWay) -> None:
        """Let a group go: all in it are as good as answered. Where it was cut short, it is void."""
        if group.stage is not Stage.RECORDED:
            self.void(group)
        group.before = None
        group.answered.set()
        if self.current is group:
            self.current = None
        elif self.following is group:
            self.following = None


class OtherWriters:
    """What one process knows of others that write to the same ledgers, by the heads that they moved in between."""

    def __init__(self) -> None:
        self._moved_at: dict[int, float] = {}
        self._shared_until: dict[int, float] = {}

    def note(self, ledger: int, now: float) -> None:
        """Note that somebody wrote to a ledger between reading and recording, and forget what was long ago."""
        for past in [other for other, moved_at in self._moved_at.items() if now - moved_at > SHARED_SECONDS]:
            del self._moved_at[past]
            self._shared_until.pop(past, None)
        if ledger in self._moved_at and now - self._moved_at[ledger] < MOVED_SECONDS:
            self._shared_until[ledger] = now + SHARED_SECONDS
        self._moved_at[ledger] = now

    def write_to(self, ledger: int, now: float) -> bool:
        """Say whether others write to a ledger so often that its lock is better taken from the start."""
        return ledger in self._shared_until and now < self._shared_until[ledger]
