"""Bulk requests, and the ids of bulk requests and of their results. These ids belong to no ledger.

An id is a UUID of version 7 (RFC 9562). Its parts are these, most significant bits first:

    48 bits   the milliseconds since 1970 at which the request was accepted
    12 bits   the microseconds within that millisecond; the version stands before them, and the variant after them
    46 bits   random bits
    16 bits   the ordinal: 0 for the request, n for the result of its n-th item, 32768 + n for the error that this
              result may hold

So ids sort by time, and the id of a result contains all that is needed to find its row.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple
from uuid import UUID

ORDINAL_BITS: Final = 16
RANDOM_BITS: Final = 46
ERROR: Final = 1 << 15
"""The ordinal of an error is that of its result plus this number."""

_LOW_BITS: Final = RANDOM_BITS + ORDINAL_BITS
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


Action = Literal["create", "update", "delete"]
Resource = Literal["ledger_transaction", "ledger_account"]


class BulkRequest(NamedTuple):
    """A bulk request.

    Attributes:
        key_id: the API key that sent the request, in whose name its items are done.
        resources: how many items the request has.
        succeeded: how many items were done.
        failed: how many items were refused, or met a fault of ours.
    """

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
    """Return the id of an object that was created at this time; `low_bits` are the random bits and the ordinal."""
    milliseconds, microseconds = divmod((created_at - _EPOCH) // timedelta(microseconds=1), 1000)
    time = (milliseconds & (1 << 48) - 1) << 16 | 7 << 12 | microseconds * 4096 // 1000
    return UUID(int=time << 64 | 2 << _LOW_BITS | low_bits)


def low_bits_of(id_: UUID) -> int:
    """Return the random bits and the ordinal of an id, as `bulk_id` takes them."""
    return id_.int & (1 << _LOW_BITS) - 1


def result_id(request_id: UUID, ordinal: int) -> UUID:
    """Return the id of the result that has this ordinal in a request."""
    return UUID(int=request_id.int | ordinal)


def split_id(id_: UUID) -> tuple[UUID, int]:
    """Return the id of the request that an id belongs to, and the ordinal of the id."""
    ordinal = id_.int & (1 << ORDINAL_BITS) - 1
    return UUID(int=id_.int - ordinal), ordinal
