"""Entries: their metadata is all of them that ever changes."""

from collections.abc import Callable, Mapping
from uuid import UUID

from doppia.accounting.errors import ObjectNotFound
from doppia.accounting.ids import ORDINAL_BITS, Id
from doppia.accounting.platform.events import Event
from doppia.accounting.texts import merge_metadata
from doppia.engine.posting.writing import Answer, Clock, Key, writing
from doppia.proof.records import EntryAnnotated, microseconds
from doppia.store.database.connections import Database
from doppia.store.ledger import entries
from doppia.store.ledger.entries import EntryInTransaction


async def annotate(
    database: Database,
    clock: Clock,
    target: Id,
    actor: UUID | None,
    key: Key | None,
    render: Callable[[EntryInTransaction], bytes],
    metadata: Mapping[str, str | None],
) -> Answer:
    """Merge metadata into an entry's; a key whose value is None or "" is removed.

    Raises:
        ObjectNotFound, IdempotencyKeyReused, LedgerDiscarded, MetadataTooLarge.
    """
    async with writing(database, clock, target, key) as write:
        if write.replay is not None:
            return write.replay
        found = await entries.get(write.connection, target)
        if found is None:
            raise ObjectNotFound(object="ledger_entry", id=str(target))
        merged = merge_metadata(found.entry.metadata, metadata)
        found = found._replace(entry=found.entry._replace(metadata=merged, updated_at=write.now))
        number = target.sequence << ORDINAL_BITS | target.ordinal
        await entries.annotate(write.connection, target.ledger, number, merged, write.now)
        record = EntryAnnotated(
            sequence=write.sequence,
            recorded_at=microseconds(write.now),
            actor=actor.bytes if actor else None,
            event=Event.UPDATED,
            entry_sequence=target.sequence,
            entry_ordinal=target.ordinal,
            metadata=merged,
        )
        await write.append(record)
        return await write.answer(200, render(found))
