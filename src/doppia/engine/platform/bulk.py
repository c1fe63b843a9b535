"""Bulk requests: each is stored with all its items, and later the results of the items are stored with it."""

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
    """Store a bulk request with all its items. They are done afterwards, in the name of the caller's API key."""

    organization: UUID
    action_type: Action
    resource_type: Resource
    items: Sequence[Item]
    metadata: Mapping[str, str] = field(default_factory=dict)

    async def carry_out(self, connection: Connection, caller: Caller, now: datetime) -> BulkRequest:
        """Write what was asked, under the lock of the organization."""
        assert caller.actor is not None, "items are done in the name of an API key"
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


async def store_results(database: Database, clock: Clock, request: BulkRequest, results: Sequence[Told]) -> None:
    """Store the results of some items of a bulk request, and count them. The last item completes the request."""
    async with database.tx() as connection:
        await bulk.tell(connection, request, results, max(clock(), request.updated_at))
