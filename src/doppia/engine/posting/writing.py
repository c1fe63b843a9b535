"""What every write has: a caller, a command, the moment at which its records are written, and what they come to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final, Generic, NamedTuple, TypeVar, get_args
from uuid import UUID

from doppia.accounting.errors import LedgerDiscarded, ObjectNotFound
from doppia.accounting.ids import LedgerRef, format_id
from doppia.accounting.platform.events import Event
from doppia.engine.posting.recording import write_rows
from doppia.proof.records import Origin, Record, microseconds
from doppia.proof.tree import Frontier
from doppia.store.database.connections import Connection
from doppia.store.ledger import ledgers

T = TypeVar("T")

Clock = Callable[[], datetime]


class Key(NamedTuple):
    """A caller's idempotency key: digest of organization, route and key, and digest of the request it came with."""

    digest: bytes
    request_digest: bytes


class Caller(NamedTuple):
    """On whose behalf a command is performed.

    Attributes:
        actor: id of the API key; None where the service itself or the command line asks.
        key: the idempotency key; None where the command is performed each time it is asked.
    """

    actor: UUID | None = None
    key: Key | None = None

    def actor_bytes(self) -> bytes | None:
        """Return the actor as records have it."""
        return None if self.actor is None else self.actor.bytes


NOBODY: Final = Caller()
"""The service itself, or the command line."""


@dataclass(slots=True)
class Writing:
    """A write to a ledger whose head is locked, in a database transaction that is under way.

    Attributes:
        sequence: of the record that is appended next.
        now: the time of all its records; it is never before that of the log's last.
        tree: over the log, with what this write has appended.
        about: the sequence of the last record that this write appended; where it changed nothing, of the one that
            created its object.
    """

    connection: Connection
    ledger: LedgerRef
    sequence: int
    now: datetime
    tree: Frontier
    actor: bytes | None
    is_discarded: bool
    about: int | None = None

    def check_open(self) -> None:
        """Ask that the ledger takes writes.

        Raises:
            LedgerDiscarded.
        """
        if self.is_discarded:
            raise LedgerDiscarded(ledger_id=self.ledger.id)

    def moment(self) -> "Moment":
        """Return what the next records begin with."""
        return Moment(self.ledger.number, self.sequence, self.now, self.actor)

    async def record(self, records: Sequence[Record]) -> None:
        """Append records to the log, in order, and write the rows of each."""
        for record in records:
            assert record.sequence == self.sequence, "records follow each other without gaps"
            await write_rows(self.connection, self.ledger.number, record)
            self.tree = await ledgers.append(self.connection, self.ledger.number, self.tree, self.now, record)
            self.about = self.sequence
            self.sequence += 1


async def begin(connection: Connection, clock: Clock, ledger: LedgerRef, actor: bytes | None = None) -> Writing:
    """Lock a ledger's head for one write, in a database transaction that is under way.

    Raises:
        ObjectNotFound: there is no such ledger.
    """
    head = await ledgers.lock_head(connection, ledger.number)
    if head is None:
        raise ObjectNotFound(object="ledger", id=ledger.id)
    now = max(clock(), head.recorded_at)
    return Writing(
        connection, ledger, head.sequence + 1, now, head.tree(), actor, is_discarded=head.discarded_at is not None
    )


class Moment(NamedTuple):
    """What the records of a command begin with: the ledger's number, the first one's sequence, the time, the actor."""

    ledger: int
    sequence: int
    now: datetime
    actor: bytes | None

    def id(self) -> str:
        """Return the id of what the first record creates."""
        return format_id(int(self.now.timestamp()), self.ledger, self.sequence)

    def origin(self, event: Event, place: int = 0) -> Origin:
        """Return the beginning of the record at this place among those of the command, from 0."""
        return Origin(self.sequence + place, microseconds(self.now), self.actor, event)


class Decision(NamedTuple, Generic[T]):
    """What a command comes to.

    Attributes:
        object: as the command leaves it.
        records: those that say so, the last of them about the object; none where nothing changes.
        unchanged: the sequence of the record that created the object, where nothing changes.
    """

    object: T
    records: Sequence[Record] = ()
    unchanged: int | None = None


def _result_of(command: type[Any]) -> Any:
    """Return what stands in the brackets of the command that a class extends; nothing where it names none itself."""
    for base in getattr(command, "__orig_bases__", ()):
        for argument in get_args(base):
            return argument
    return None


class Command(Generic[T]):
    """A change asked of a ledger; T is the object that it leaves.

    Attributes:
        ledger: the ledger that it writes to.
        RESULT: what T is, for what a key keeps of it.
        ALLOWS_DISCARDED: whether a discarded ledger takes it too.
        LOCKS_FIRST: whether `lock` keeps a repeated key from being missed, so that keys are looked up after it, and
            the head is locked only after `look`.
    """

    ledger: LedgerRef
    RESULT: ClassVar[Any]
    ALLOWS_DISCARDED: ClassVar[bool] = False
    LOCKS_FIRST: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        cls.RESULT = _result_of(cls)

    async def lock(self, connection: Connection) -> None:
        """Lock what is locked before the ledger's head."""

    async def look(self, connection: Connection, now: datetime) -> None:
        """Do what can be done before the ledger's head is locked; `now` is the clock's time."""

    async def carry_out(self, writing: Writing) -> T:
        """Write what was asked, under the lock of the ledger's head.

        Raises:
            LedgerError: it is refused.
        """
        found = await self.read(writing.connection)
        decision = self.decide(found, writing.moment())
        writing.about = decision.unchanged
        await writing.record(decision.records)
        return decision.object

    async def read(self, connection: Connection) -> Any:
        """Return what `decide` needs to know; the head is locked, so it stays so."""
        raise NotImplementedError

    def decide(self, found: Any, moment: Moment) -> Decision[T]:
        """Decide what the command comes to, by the rules alone.

        Raises:
            LedgerError: it is refused.
        """
        raise NotImplementedError


class OrganizationCommand(Generic[T]):
    """A change asked of an organization, which is locked while it is carried out; T is the object that it leaves."""

    organization: UUID
    RESULT: ClassVar[Any]

    def __init_subclass__(cls) -> None:
        cls.RESULT = _result_of(cls)

    async def carry_out(self, connection: Connection, caller: Caller, now: datetime) -> T:
        """Write what was asked; the organization is locked.

        Raises:
            LedgerError: it is refused.
        """
        raise NotImplementedError
