"""One write to a ledger outside the posting groups: its head locked, its time, its records, its idempotency key."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from doppia.accounting.errors import IdempotencyKeyReused, LedgerDiscarded, ObjectNotFound
from doppia.accounting.ids import Id
from doppia.proof.records import AnyRecord
from doppia.proof.tree import Frontier
from doppia.store.database.connections import Connection, Database
from doppia.store.ledger import ledgers
from doppia.store.ledger.ledgers import ConsumedKey

Clock = Callable[[], datetime]


class Key(NamedTuple):
    """A caller's idempotency key: digest of organization, route and key, and digest of the request it came with."""

    digest: bytes
    request_digest: bytes


class Answer(NamedTuple):
    """What a write is answered with: the HTTP status and the body; the same bytes each time its key is repeated."""

    status: int
    body: bytes


@dataclass(slots=True)
class Writing:
    """A write in progress.

    Attributes:
        sequence: of the record that is appended next.
        now: the time of all its records; never before that of the log's last.
        tree: over the log, with what this write appended.
    """

    connection: Connection
    ledger: int
    sequence: int
    now: datetime
    tree: Frontier
    key: Key | None
    replay: Answer | None

    async def append(self, record: AnyRecord) -> None:
        """Append a record, made with this `sequence` and `now`, to the ledger's log."""
        self.tree = await ledgers.append(self.connection, self.ledger, self.tree, self.now, record)
        self.sequence += 1

    async def answer(self, status: int, body: bytes) -> Answer:
        """Consume the idempotency key, if the caller sent one, by this answer."""
        if self.key is not None:
            await ledgers.consume_key(self.connection, self.ledger, ConsumedKey(*self.key, None, status, body))
        return Answer(status, body)


@asynccontextmanager
async def writing(
    database: Database, clock: Clock, ledger: Id, key: Key | None = None, *, discarded_too: bool = False
) -> AsyncIterator[Writing]:
    """Lock a ledger for one write, in one database transaction. Where the key is a repeat, `replay` is its answer.

    Raises:
        ObjectNotFound: there is no such ledger.
        IdempotencyKeyReused: the key was consumed by a request with another body.
        LedgerDiscarded: it takes nothing more, unless `discarded_too`.
    """
    async with database.tx() as connection:
        yield await begin(connection, clock, ledger, key, discarded_too=discarded_too)


async def begin(
    connection: Connection, clock: Clock, ledger: Id, key: Key | None = None, *, discarded_too: bool = False
) -> Writing:
    """Lock a ledger for one write in a database transaction that is under way. Raises what `writing` raises."""
    head = await ledgers.lock_head(connection, ledger.ledger)
    if head is None:
        raise ObjectNotFound(object="ledger", id=str(ledger))
    replay = await replayed(connection, key)
    if replay is None and head.discarded_at is not None and not discarded_too:
        raise LedgerDiscarded(ledger_id=str(ledger))
    now = max(clock(), head.recorded_at)
    return Writing(connection, ledger.ledger, head.sequence + 1, now, head.tree(), key, replay)


async def replayed(connection: Connection, key: Key | None) -> Answer | None:
    """Return the answer that a repeated key had, or None when it is new.

    Raises:
        IdempotencyKeyReused: it was consumed by a request with another body.
    """
    if key is None:
        return None
    consumed = (await ledgers.consumed_keys(connection, [key.digest])).get(key.digest)
    if consumed is None:
        return None
    if consumed.request_digest != key.request_digest:
        raise IdempotencyKeyReused
    assert consumed.answer is not None, "a write outside the posting groups keeps its answer"
    return Answer(consumed.status, consumed.answer)
