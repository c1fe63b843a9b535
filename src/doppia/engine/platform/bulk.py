"""Bulk requests: accept one with all its items, and tell what became of them."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from doppia.accounting.platform.bulk import ORDINAL_BITS, RANDOM_BITS, Action, BulkRequest, Resource, bulk_id
from doppia.engine.posting.writing import Answer, Clock, Key, replayed
from doppia.store.database.connections import Database
from doppia.store.ledger import ledgers
from doppia.store.ledger.ledgers import NO_LEDGER, ConsumedKey
from doppia.store.platform import bulk
from doppia.store.platform.bulk import Item, Told

Render = Callable[[BulkRequest], bytes]


async def accept(
    database: Database,
    clock: Clock,
    organization: UUID,
    actor: UUID,
    key: Key | None,
    render: Render,
    *,
    action_type: Action,
    resource_type: Resource,
    items: Sequence[Item],
    metadata: Mapping[str, str],
) -> Answer:
    """Keep a bulk request with all its items, to be done afterwards.

    The organization's row is locked meanwhile, so that a key repeated at once finds the first answer.

    Raises:
        IdempotencyKeyReused.
    """
    async with database.tx() as connection:
        await ledgers.lock_organization(connection, organization)
        if (replay := await replayed(connection, key)) is not None:
            return replay
        now = clock()
        request = BulkRequest(
            organization=organization,
            id=bulk_id(now, secrets.randbits(RANDOM_BITS) << ORDINAL_BITS),
            key_id=actor,
            action_type=action_type,
            resource_type=resource_type,
            status="pending",
            resources=len(items),
            succeeded=0,
            failed=0,
            metadata=metadata,
            created_at=now,
            updated_at=now,
        )
        await bulk.create(connection, request, items)
        body = render(request)
        if key is not None:
            await ledgers.consume_key(connection, NO_LEDGER, ConsumedKey(*key, None, 201, body))
        return Answer(201, body)


async def tell(database: Database, clock: Clock, request: BulkRequest, told: Sequence[Told]) -> None:
    """Put on record what became of items of a bulk request, and count them; the last one completes it."""
    async with database.tx() as connection:
        await bulk.tell(connection, request, told, max(clock(), request.updated_at))
