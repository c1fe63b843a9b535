"""Writing: every write has a caller, a command, the moment at which its records are written, and a decision."""

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
    """A caller's idempotency key.

    Attributes:
        digest: the digest of the organization, the route or the name of the command, and the key.
        request_digest: the digest of the request that the key came with.
    """

    digest: bytes
    request_digest: bytes


class Caller(NamedTuple):
    """Who asks for a command.

    Attributes:
        actor: the id of the API key; None where the service itself or the command line asks.
        key: the idempotency key; None where the command is performed each time that it is asked for.
    """

    actor: UUID | None = None
    key: Key | None = None

    def actor_bytes(self) -> bytes | None:
        """Return the actor as records hold it."""
        return None if self.actor is None else self.actor.bytes


NOBODY: Final = Caller()
"""This is the caller of what the service itself or the command line asks for."""


@dataclass(slots=True)
class Writing:
    """A write to a ledger whose head is locked, in a database transaction that is under way.

    Attributes:
        sequence: the sequence of the record that is appended next.
        now: the time of all records of this write; it is never before that of the log's last record.
        tree: the frontier of the tree over the log, with the records that this write has appended.
        actor: the actor of all records of this write.
        is_discarded: whether the ledger is discarded.
        about: the sequence of the last record that this write appended. Where it changed nothing, this is the sequence
            of the record that created its object.
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
        """Refuse to write to a discarded ledger.

        Raises:
            LedgerDiscarded.
        """
        if self.is_discarded:
            raise LedgerDiscarded(ledger_id=self.ledger.id)

    def moment(self) -> "Moment":
        """Return the moment of the records that are appended next."""
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
    """The beginning that all records of a command share.

    Attributes:
        ledger: the ledger's number.
        sequence: the sequence of the command's first record.
        now: the time of all its records.
        actor: the actor of all its records.
    """

    ledger: int
    sequence: int
    now: datetime
    actor: bytes | None

    def id(self) -> str:
        """Return the id of the object that the first record creates."""
        return format_id(int(self.now.timestamp()), self.ledger, self.sequence)

    def origin(self, event: Event, place: int = 0) -> Origin:
        """Return the beginning of one of the command's records; `place` counts them from 0."""
        return Origin(self.sequence + place, microseconds(self.now), self.actor, event)


class Decision(NamedTuple, Generic[T]):
    """What a command does.

    Attributes:
        object: the object as the command leaves it.
        records: the records of the change, in order, the last of them about the object; none where nothing changes.
        unchanged: the sequence of the record that created the object; None where something changes.
    """

    object: T
    records: Sequence[Record] = ()
    unchanged: int | None = None


def _result_of(command: type[Any]) -> Any:
    """Return the type argument with which a class extends `Command`; None where it has none of its own."""
    for base in getattr(command, "__orig_bases__", ()):
        for argument in get_args(base):
            return argument
    return None


class Command(Generic[T]):
    """A change that a caller asks of a ledger; T is the type of the object that it leaves.

    Attributes:
        ledger: the ledger that the command writes to.
        RESULT: the type T. A repeated key is answered with an object of it.
        ALLOWS_DISCARDED: whether a discarded ledger takes the command, too.
        LOCKS_FIRST: whether `lock` takes a lock that two commands with one key can't hold at once. Then keys are looked
            up right after `lock`, and the ledger's head is locked only after `look`. Otherwise the lock of the head
            comes first, and keys are looked up under it.
    """

    ledger: LedgerRef
    RESULT: ClassVar[Any]
    ALLOWS_DISCARDED: ClassVar[bool] = False
    LOCKS_FIRST: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        cls.RESULT = _result_of(cls)

    async def lock(self, connection: Connection) -> None:
        """Take the locks that are taken before that of the ledger's head."""

    async def look(self, connection: Connection, now: datetime) -> None:
        """Do the work that needs no lock of the ledger's head; `now` is the clock's time."""

    async def carry_out(self, writing: Writing) -> T:
        """Write what was asked, under the lock of the ledger's head, and return the object that it leaves.

        Raises:
            LedgerError: the command is refused.
        """
        found = await self.read(writing.connection)
        decision = self.decide(found, writing.moment())
        writing.about = decision.unchanged
        await writing.record(decision.records)
        return decision.object

    async def read(self, connection: Connection) -> Any:
        """Return what `decide` needs to know. It can't change before the records are written: the head is locked."""
        raise NotImplementedError

    def decide(self, found: Any, moment: Moment) -> Decision[T]:
        """Return what the command does, by the rules alone; `found` is what `read` returned.

        Raises:
            LedgerError: the command is refused.
        """
        raise NotImplementedError


class OrganizationCommand(Generic[T]):
    """A change that a caller asks of an organization; T is the type of the object that it leaves.

    The organization is locked while the command is carried out.
    """

    organization: UUID
    RESULT: ClassVar[Any]

    def __init_subclass__(cls) -> None:
        cls.RESULT = _result_of(cls)

    async def carry_out(self, connection: Connection, caller: Caller, now: datetime) -> T:
        """Write what was asked, under the lock of the organization, and return the object that it leaves.

        Raises:
            LedgerError: the command is refused.
        """
        raise NotImplementedError
