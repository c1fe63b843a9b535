"""Ledgers: create, update, discard, purge."""

import secrets
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from doppia.accounting.errors import ObjectNotFound, PurgeNotConfirmed
from doppia.accounting.ids import LEDGER_NUMBER_MAX, Id
from doppia.accounting.ledger.ledgers import Ledger
from doppia.accounting.platform.events import Event
from doppia.accounting.texts import merge_metadata
from doppia.engine.posting.writing import Answer, Clock, Key, Writing, replayed, writing
from doppia.proof.records import LedgerWritten, microseconds
from doppia.proof.tree import Frontier
from doppia.store.closing import settlements
from doppia.store.database.connections import Database
from doppia.store.ledger import ledgers
from doppia.store.ledger.ledgers import NO_LEDGER, ConsumedKey

Render = Callable[[Ledger], bytes]


async def create(
    database: Database,
    clock: Clock,
    organization: UUID,
    actor: UUID | None,
    key: Key | None,
    render: Render,
    *,
    name: str,
    description: str | None,
    metadata: Mapping[str, str],
) -> Answer:
    """Create a ledger with a number of its own, drawn at random among those that are free.

    The organization's row is locked meanwhile, so that a key repeated at once finds the first answer.
    """
    async with database.tx() as connection:
        now = clock()
        await ledgers.lock_organization(connection, organization)
        if (replay := await replayed(connection, key)) is not None:
            return replay
        number = 0
        while not number or not await ledgers.create(
            connection, number, organization, name, description, metadata, now
        ):
            number = secrets.randbelow(LEDGER_NUMBER_MAX) + 1
        ledger = await ledgers.get(connection, number)
        assert ledger is not None, "it was created a statement ago"
        await ledgers.append(connection, number, Frontier(), now, _record(ledger, 1, actor, Event.CREATED))
        payload = {"ledger_id": ledger.id, "name": name}
        await ledgers.append_organization(connection, organization, now, actor, "ledger_created", payload)
        body = render(ledger)
        if key is not None:
            await ledgers.consume_key(connection, NO_LEDGER, ConsumedKey(*key, None, 201, body))
        return Answer(201, body)


def _record(ledger: Ledger, sequence: int, actor: UUID | None, event: Event) -> LedgerWritten:
    return LedgerWritten(
        sequence=sequence,
        recorded_at=microseconds(ledger.updated_at),
        actor=actor.bytes if actor else None,
        event=event,
        ledger=ledger.number,
        name=ledger.name,
        description=ledger.description,
        metadata=dict(ledger.metadata),
        discarded=ledger.discarded_at is not None,
    )


async def _find(write: Writing, target: Id) -> Ledger:
    ledger = await ledgers.get(write.connection, target.ledger)
    if ledger is None or ledger.id != str(target):
        raise ObjectNotFound(object="ledger", id=str(target))
    return ledger


async def update(
    database: Database,
    clock: Clock,
    target: Id,
    actor: UUID | None,
    key: Key | None,
    render: Render,
    changes: Mapping[str, Any],
) -> Answer:
    """Change a ledger's name, description or metadata; metadata is merged in.

    Raises:
        ObjectNotFound, IdempotencyKeyReused, LedgerDiscarded, MetadataTooLarge.
    """
    async with writing(database, clock, target, key) as write:
        if write.replay is not None:
            return write.replay
        ledger = await _find(write, target)
        ledger = ledger._replace(
            name=changes.get("name", ledger.name),
            description=changes.get("description", ledger.description),
            metadata=merge_metadata(ledger.metadata, changes.get("metadata") or {}),
            updated_at=write.now,
        )
        await ledgers.update(write.connection, ledger)
        await write.append(_record(ledger, write.sequence, actor, Event.UPDATED))
        return await write.answer(200, render(ledger))


async def discard(
    database: Database, clock: Clock, target: Id, actor: UUID | None, key: Key | None, render: Render
) -> Answer:
    """Discard a ledger with its accounts: nothing more is accepted, reads go on. Discarding it again changes nothing.

    Raises:
        ObjectNotFound, IdempotencyKeyReused.
    """
    async with writing(database, clock, target, key, discarded_too=True) as write:
        if write.replay is not None:
            return write.replay
        ledger = await _find(write, target)
        if ledger.discarded_at is None:
            ledger = ledger._replace(discarded_at=write.now, updated_at=write.now)
            await ledgers.discard(write.connection, target.ledger, write.now)
            await write.append(_record(ledger, write.sequence, actor, Event.DISCARDED))
        return await write.answer(200, render(ledger))


async def purge(
    database: Database,
    clock: Clock,
    target: Id,
    organization: UUID,
    actor: UUID | None,
    key: Key | None,
    render: Render,
    confirmation: str | None,
) -> Answer:
    """Remove a ledger and all its data for good. What is left is a line in the organization's log, and the key.

    The organization is locked before the ledger, so that a key repeated at once finds the first answer; and what is
    settled of its accounts, whose locks come before the head's.

    Raises, the first that holds, in this order:
        IdempotencyKeyReused: another request consumed the key, such as the ledger's discard.
        ObjectNotFound: the organization has no such ledger.
        PurgeNotConfirmed: `confirmation` is not the ledger's id.
    """
    async with database.tx() as connection:
        await ledgers.lock_organization(connection, organization)
        if (replay := await replayed(connection, key)) is not None:
            return replay
        owner = await ledgers.owner(connection, target.ledger)
        if owner != (organization, str(target)):
            raise ObjectNotFound(object="ledger", id=str(target))
        await settlements.lock_accounts(connection, target.ledger)
        head = await ledgers.lock_head(connection, target.ledger)
        ledger = await ledgers.get(connection, target.ledger)
        if head is None or ledger is None:
            raise ObjectNotFound(object="ledger", id=str(target))
        if confirmation is None or confirmation.lower() != ledger.id:
            raise PurgeNotConfirmed(ledger_id=ledger.id)
        now = max(clock(), head.recorded_at)
        await ledgers.purge(connection, organization, ledger, actor, now)
        body = render(ledger._replace(discarded_at=ledger.discarded_at or now))
        if key is not None:
            await ledgers.consume_key(connection, NO_LEDGER, ConsumedKey(*key, None, 200, body))
        return Answer(200, body)
