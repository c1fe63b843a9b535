"""Bulk requests: one is kept with all its items, and then told what became of them."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from doppia.accounting.platform.bulk import ORDINAL_BITS, RANDOM_BITS, Action, BulkRequest, Resource, bulk_id
from doppia.engine.posting.writing import Caller, Clock, OrganizationCommand
from doppia.store.database.connections import Connection, Database
from doppia.store.platform import bulk
from doppia.store.platform.bulk import Item, Told


@dataclass(frozen=True, kw_only=True)
class AcceptBulkRequest(OrganizationCommand[BulkRequest]):
    """Keep a bulk request with all its items, to be done afterwards in the name of the caller's API key."""

    organization: UUID
    action_type: Action
    resource_type: Resource
    items: Sequence[Item]
    metadata: Mapping[str, str] = field(default_factory=dict)

    async def carry_out(self, connection: Connection, caller: Caller, now: datetime) -> BulkRequest:
        """Write what was asked; the organization is locked."""
        assert caller.actor is not None, "items are done in the name of a key"
        request = BulkRequest(
            organization=self.organization,
            id=bulk_id(now, secrets.randbits(RANDOM_BITS) << ORDINAL_BITS),
            key_id=caller.actor,
            action_type=self.action_type,
            resource_type=self.resource_type,
            status="pending",
            resources=len(self.items),
            succeeded=0,
            failed=0,
            metadata=self.metadata,
            created_at=now,
            updated_at=now,
        )
        await bulk.create(connection, request, self.items)
        return request


async def tell(database: Database, clock: Clock, request: BulkRequest, told: Sequence[Told]) -> None:
    """Put on record what became of items of a bulk request, and count them; the last one completes it."""
    async with database.tx() as connection:
        await bulk.tell(connection, request, told, max(clock(), request.updated_at))
