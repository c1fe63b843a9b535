"""Bulk requests, and the ids of them and of their results, which belong to no ledger.

The ids are UUIDs of version 7 (RFC 9562), most significant bits first:

    48 bits   milliseconds since 1970 at which the request was accepted
    12 bits   the microseconds within (with the version before and the variant after them)
    46 bits   random
    16 bits   0 for the request, n for the result of its n-th item, 32768 + n for the error that this result may hold

So they sort by time, and the id of a result leads to its row.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple
from uuid import UUID

ORDINAL_BITS: Final = 16
RANDOM_BITS: Final = 46
ERROR: Final = 1 << 15
"""Added to the ordinal of a result, it makes that of its error."""

_LOW_BITS: Final = RANDOM_BITS + ORDINAL_BITS
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


Action = Literal["create", "update", "delete"]
Resource = Literal["ledger_transaction", "ledger_account"]


class BulkRequest(NamedTuple):
    """A bulk request; `resources` counts its items, `succeeded` and `failed` those that are done."""

    organization: UUID
    id: UUID
    key_id: UUID
    action_type: Action
    resource_type: Resource
    status: Literal["pending", "processing", "completed"]
    resources: int
    succeeded: int
    failed: int
    metadata: Mapping[str, str]
    created_at: datetime
    updated_at: datetime


def bulk_id(created_at: datetime, low_bits: int) -> UUID:
    """Return the id of what was created then; `low_bits` are the random ones and the ordinal."""
    milliseconds, microseconds = divmod((created_at - _EPOCH) // timedelta(microseconds=1), 1000)
    time = (milliseconds & (1 << 48) - 1) << 16 | 7 << 12 | microseconds * 4096 // 1000
    return UUID(int=time << 64 | 2 << _LOW_BITS | low_bits)


def low_bits_of(id_: UUID) -> int:
    """Return what `bulk_id` makes the id of, besides the time."""
    return id_.int & (1 << _LOW_BITS) - 1


def result_id(request_id: UUID, ordinal: int) -> UUID:
    """Return the id of the request's result with this ordinal."""
    return UUID(int=request_id.int | ordinal)


def split_id(id_: UUID) -> tuple[UUID, int]:
    """Return the request that an id belongs to, and the ordinal."""
    ordinal = id_.int & (1 << ORDINAL_BITS) - 1
    return UUID(int=id_.int - ordinal), ordinal
