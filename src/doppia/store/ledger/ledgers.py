"""Ledgers in the database: their fields, their heads, their logs' ends, and the idempotency keys they keep."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from doppia.accounting.ids import LedgerId, LedgerNumber, ledger_id
from doppia.accounting.ledger.ledgers import Ledger
from doppia.proof.kinds import kind_of
from doppia.proof.records import LedgerWritten, Origin, Record, moment
from doppia.proof.sealing import seal
from doppia.proof.tree import EMPTY_ROOT, Frontier, frontier_of, leaf_hash
from doppia.store.database.connections import Connection, load_queries
from doppia.store.database.listing import Listing, Order, Walk, newest_first
from doppia.store.database.parameters import BOOLEAN, METADATA, TIME, Parameter, Plan, Reach, id_of, several
from doppia.store.log.salts import new_salt

_SQL: Final = load_queries("ledger/ledgers")

NO_LEDGER: Final = 0
"""Stands in for the ledger where an idempotency key was consumed by a request about none, such as creating one."""


class Head(NamedTuple):
    """Where a ledger's log ends.

    Attributes:
        frontier: of the tree over it, as `Frontier.to_bytes` writes it.
    """

    sequence: int
    recorded_at: datetime
    discarded_at: datetime | None
    frontier: bytes

    def tree(self) -> Frontier:
        """Return the tree over the log."""
        return frontier_of(self.sequence, self.frontier)


class ConsumedKey(NamedTuple):
    """What an idempotency key was consumed by.

    Attributes:
        sequence: of a log record about the object that the request left; None where it left none of a ledger.
        kept: what is kept of that object; None where the record yields it, or for a batch those up to it.
    """

    digest: bytes
    request_digest: bytes
    sequence: int | None
    kept: bytes | None


def _ledger(row: Any) -> Ledger:
    number, name, description, metadata, created_at, updated_at, discarded_at = row
    id_ = ledger_id(int(created_at.timestamp()), number)
    return Ledger(id_, number, name, description, metadata, created_at, updated_at, discarded_at)


class Owner(NamedTuple):
    """Whose a ledger is, and its id; neither ever changes."""

    organization: UUID
    ledger_id: LedgerId


async def owner(connection: Connection, ledger: int) -> Owner | None:
    """Return whose a ledger is, or None when there is no such ledger."""
    row = await _SQL["owner"].fetchrow(connection, ledger=ledger)
    return Owner(row[0], ledger_id(int(row[1].timestamp()), ledger)) if row else None


async def owned_by(connection: Connection, organization: UUID) -> dict[int, Owner]:
    """Return all ledgers of an organization by number."""
    rows = await _SQL["of_organization"].fetch(connection, organization=organization)
    return {row[0]: Owner(organization, ledger_id(int(row[1].timestamp()), row[0])) for row in rows}


async def get(connection: Connection, ledger: int) -> Ledger | None:
    """Return a ledger."""
    row = await _SQL["get"].fetchrow(connection, ledger=ledger)
    return _ledger(row) if row else None


async def named(connection: Connection, organization: UUID, name: str) -> list[Ledger]:
    """Return an organization's ledgers with this name that are not discarded, the oldest first."""
    return [_ledger(row) for row in await _SQL["named"].fetch(connection, organization=organization, name=name)]


PARAMETERS: Final = (
    Parameter("id", several(id_of("ledger")), Reach.FEW, Plan.KEPT, ("id_exact",)),
    Parameter("updated_at", TIME, Reach.ANYWHERE, Plan.BY_VALUE),
    Parameter("metadata", METADATA, Reach.LEDGER_INDEX, Plan.BY_VALUE),
    Parameter("discarded", BOOLEAN, Reach.ANYWHERE, Plan.KEPT),
)
LIST: Final = Listing(
    "ledger/ledgers",
    PARAMETERS,
    walks=(Walk("by_filters", ("ledgers_pkey",)),),
    newest_first=Order("created_at", "ledger_id", None, "desc"),
)
list_page: Final = newest_first(LIST, _ledger)


async def recorded_at(connection: Connection, ledger: int) -> datetime:
    """Return the time of the last record of a ledger's log."""
    last: datetime = await _SQL["recorded_at"].fetchval(connection, ledger=ledger)
    return last


async def lock_head(connection: Connection, ledger: int) -> Head | None:
    """Lock a ledger for writing until the database transaction ends, and return where its log ends."""
    row = await _LOCK_HEAD.fetchrow(connection, ledger=ledger)
    return Head(*row) if row else None


_LOCK_HEAD: Final = load_queries("posting/posting")["lock_head"]


async def append(
    connection: Connection,
    ledger: int,
    tree: Frontier,
    recorded_at: datetime,
    record: Record,
) -> Frontier:
    """Append one record to the log of a ledger whose head is locked, and return the tree over the log with it."""
    kind = kind_of(record)
    payload, texts = seal(record, new_salt)
    tree, kept = tree.extended([leaf_hash(payload)])
    await _SQL["append"].execute(
        connection,
        ledger=ledger,
        sequence=record.sequence,
        object=kind.about(record),
        recorded_at=recorded_at,
        kind=kind.number,
        event=record.event,
        payload=payload,
        texts=texts,
        root=tree.root(),
        frontier=tree.to_bytes(),
        levels=[node.level for node in kept],
        places=[node.place for node in kept],
        hashes=[node.hash for node in kept],
    )
    return tree


async def create(
    connection: Connection,
    number: int,
    organization: UUID,
    name: str,
    description: str | None,
    metadata: Mapping[str, str],
    created_at: datetime,
) -> bool:
    """Create a ledger with the head of a log that is still empty. False when the number is taken."""
    created = await _SQL["create"].fetchval(
        connection,
        ledger=number,
        organization=organization,
        name=name,
        description=description,
        metadata=dict(metadata),
        created_at=created_at,
    )
    if created is None:
        return False
    await _SQL["create_head"].execute(connection, ledger=number, created_at=created_at, empty_root=EMPTY_ROOT)
    return True


async def purge(
    connection: Connection, organization: UUID, ledger: Ledger, actor: UUID | None, purged_at: datetime
) -> None:
    """Remove an organization's ledger and all its data for good, its number spent; its head is locked.

    The organization's log says so, and that the admin key `actor` did it.
    """
    await _SQL["allow_time"].execute(connection)
    await _SQL["purge_bulk_items"].execute(connection, ledger=ledger.number, organization=organization)
    await _SQL["purge_bulk_results"].execute(connection, ledger=ledger.number, organization=organization)
    await _SQL["purge"].execute(
        connection,
        organization=organization,
        ledger=ledger.number,
        ledger_id=ledger.id,
        actor=actor,
        purged_at=purged_at,
    )


async def consumed_keys(connection: Connection, digests: Iterable[bytes]) -> dict[bytes, ConsumedKey]:
    """Return what those of the idempotency keys were consumed by that were, by digest."""
    rows = await _SQL["keys"].fetch(connection, digests=list(digests))
    return {row["digest"]: ConsumedKey(*row) for row in rows}


async def consume_key(connection: Connection, ledger: int, key: ConsumedKey) -> None:
    """Consume an idempotency key; the ledger's head is locked."""
    await _SQL["consume_key"].execute(connection, ledger=ledger, **key._asdict())


async def lock_organization(connection: Connection, organization: UUID) -> None:
    """Lock an organization until the database transaction ends, so that its log grows by one at a time."""
    await _SQL["lock_organization"].execute(connection, organization=organization)


async def append_organization(
    connection: Connection,
    organization: UUID,
    recorded_at: datetime,
    actor: UUID | None,
    kind: str,
    payload: Mapping[str, Any],
) -> None:
    """Append to an organization's own log; its row is locked, or about to be."""
    await lock_organization(connection, organization)
    await _SQL["append_organization"].execute(
        connection, organization=organization, recorded_at=recorded_at, actor=actor, kind=kind, payload=dict(payload)
    )


def record_of(ledger: Ledger, origin: Origin) -> LedgerWritten:
    """Return the record that writes a ledger as it is."""
    return LedgerWritten(
        **origin._asdict(),
        ledger=ledger.number,
        name=ledger.name,
        description=ledger.description,
        metadata=dict(ledger.metadata),
        discarded=ledger.discarded_at is not None,
    )


def from_record(record: LedgerWritten, created_at: datetime) -> Ledger:
    """Return the ledger that a record writes."""
    recorded_at = moment(record.recorded_at)
    return Ledger(
        id=ledger_id(int(created_at.timestamp()), record.ledger),
        number=LedgerNumber(record.ledger),
        name=record.name,
        description=record.description,
        metadata=record.metadata,
        created_at=created_at,
        updated_at=recorded_at,
        discarded_at=recorded_at if record.discarded else None,
    )


async def write(connection: Connection, ledger: int, record: LedgerWritten) -> None:
    """Write what a record says of a ledger that is there; with it its accounts are discarded. Its head is locked."""
    at = moment(record.recorded_at)
    await _SQL["update"].execute(
        connection,
        ledger=ledger,
        name=record.name,
        description=record.description,
        metadata=record.metadata,
        updated_at=at,
    )
    if record.discarded:
        await _SQL["discard"].execute(connection, ledger=ledger, discarded_at=at)
        await _SQL["discard_accounts"].execute(connection, ledger=ledger, discarded_at=at)
