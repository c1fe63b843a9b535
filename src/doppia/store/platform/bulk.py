"""Bulk requests and their results in the database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, get_args
from uuid import UUID

from doppia.accounting.platform.bulk import Action, BulkRequest, Resource, bulk_id, split_id
from doppia.store.database.connections import Connection, load_queries
from doppia.store.database.listing import Filter, Listing, Order, Page, Place, Walk
from doppia.store.database.parameters import (
    ANY_UUID,
    METADATA,
    TIME,
    Parameter,
    Plan,
    Reach,
    several,
    unfiltered,
    words,
)
from doppia.store.platform.organizations import Role

_SQL: Final = load_queries("platform/bulk")


class Item(NamedTuple):
    """An item as it was sent: JSON.

    Attributes:
        ledgers: that it is about, as far as its ids say.
        external_id: by which it names its transaction, where it does so by no id.
    """

    params: bytes
    ledgers: Sequence[int]
    external_id: str | None


class BulkResult(NamedTuple):
    """What became of an item: `entity` is JSON. `params` and `entity` are None once a ledger of its is purged."""

    request_id: UUID
    ordinal: int
    status: Literal["pending", "successful", "failed"]
    entity_type: str
    params: bytes | None
    entity_id: UUID | None
    entity: bytes | None
    created_at: datetime
    updated_at: datetime


class Told(NamedTuple):
    """What is to be told of an item. `ledger` of the entity, where there is one."""

    ordinal: int
    ledger: int | None
    status: Literal["successful", "failed"]
    entity_type: str
    entity_id: UUID
    entity: bytes


async def create(connection: Connection, request: BulkRequest, items: Sequence[Item]) -> None:
    """Create a request with all its items."""
    await _SQL["create"].execute(
        connection,
        organization=request.organization,
        request=request.id,
        key=request.key_id,
        action_type=request.action_type,
        resource_type=request.resource_type,
        metadata=dict(request.metadata),
        created_at=request.created_at,
        ordinals=list(range(1, len(items) + 1)),
        ledgers=["{" + ",".join(map(str, item.ledgers)) + "}" for item in items],
        external_ids=[item.external_id for item in items],
        params=[item.params for item in items],
    )


async def get_request(connection: Connection, organization: UUID, id_: UUID) -> BulkRequest | None:
    """Return a request."""
    row = await _SQL["get_request"].fetchrow(connection, organization=organization, request=id_)
    return BulkRequest(*row) if row else None


async def get_result(connection: Connection, organization: UUID, request_id: UUID, ordinal: int) -> BulkResult | None:
    """Return the result of an item."""
    row = await _SQL["get_result"].fetchrow(connection, organization=organization, request=request_id, ordinal=ordinal)
    return BulkResult(*row) if row else None


REQUEST_PARAMETERS: Final = (
    Parameter("id", several(ANY_UUID), Reach.FEW, Plan.KEPT),
    Parameter("action_type", words(*get_args(Action)), Reach.ANYWHERE, Plan.KEPT),
    Parameter("resource_type", words(*get_args(Resource)), Reach.ANYWHERE, Plan.KEPT),
    Parameter(
        "status", words("pending", "processing", "completed"), Reach.ANYWHERE, Plan.KEPT, conditions=("request_status",)
    ),
    Parameter("created_at", TIME, Reach.ANYWHERE, Plan.KEPT),
    Parameter("metadata", METADATA, Reach.FEW, Plan.BY_VALUE),
)
RESULT_PARAMETERS: Final = (
    Parameter("request_id", ANY_UUID, Reach.FEW, Plan.KEPT),
    unfiltered("request_type", words("bulk_request")),
    Parameter("entity_id", ANY_UUID, Reach.FEW, Plan.KEPT),
    Parameter("entity_type", words(*get_args(Resource), "bulk_error"), Reach.ANYWHERE, Plan.KEPT),
    unfiltered("status", words("pending", "successful", "failed"), "status"),
    Parameter("pending", None, Reach.ANYWHERE, Plan.KEPT, instead_of=("status", "pending")),
    Parameter("successful", None, Reach.ANYWHERE, Plan.KEPT, instead_of=("status", "successful")),
    Parameter("failed", None, Reach.ANYWHERE, Plan.KEPT, instead_of=("status", "failed")),
)
LISTS: Final = Listing(
    "platform/bulk",
    (
        *REQUEST_PARAMETERS,
        Parameter("request_before", None, Reach.FEW, Plan.KEPT),
        *RESULT_PARAMETERS,
        Parameter("result_before", None, Reach.FEW, Plan.KEPT),
    ),
    walks=(
        Walk("requests", ("bulk_requests_pkey",), "list_requests"),
        Walk("results", ("bulk_results_pkey",), "list_results"),
    ),
    newest_first=Order("created_at", "request_id", None, "desc"),
)


def compose_page(
    name: Literal["requests", "results"],
    organization: UUID,
    filters: Sequence[Filter],
    after: Place | None,
    limit: int,
) -> tuple[str, list[Any]]:
    """Return the text of a page's query, the newest rows first, and its arguments."""
    filters = LISTS.replaced(filters)
    if after is not None:
        id_ = bulk_id(after.time, after.key)
        request_id, ordinal = split_id(id_)
        before = (
            Filter("request_before", id_)
            if name == "requests"
            else Filter("result_before", [str(request_id), str(ordinal)])
        )
        filters = [*filters, before]
    walk = next(walk for walk in LISTS.walks if walk.name == name)
    # These lists are of no ledger: their templates name the organization, and say their order themselves.
    page = Page((), filters, LISTS.newest_first, None, limit)
    return LISTS.compose(walk, page, {"organization": organization})


async def list_requests(
    connection: Connection, organization: UUID, filters: Sequence[Filter], after: Place | None, limit: int
) -> list[BulkRequest]:
    """Return a page of an organization's requests, the newest first."""
    query, arguments = compose_page("requests", organization, filters, after, limit)
    return [BulkRequest(*row) for row in await connection.fetch(query, *arguments)]


async def list_results(
    connection: Connection, organization: UUID, filters: Sequence[Filter], after: Place | None, limit: int
) -> list[BulkResult]:
    """Return a page of an organization's results, those of the newest request first, and of it the last item."""
    query, arguments = compose_page("results", organization, filters, after, limit)
    return [BulkResult(*row) for row in await connection.fetch(query, *arguments)]


async def claim(connection: Connection) -> bool:
    """Take the work on all bulk requests, until `release` on the same connection or its end. False when it is taken."""
    claimed: bool = await _SQL["claim"].fetchval(connection)
    return claimed


async def release(connection: Connection) -> None:
    """Give up what `claim` took."""
    await _SQL["release"].execute(connection)


async def unfinished(connection: Connection) -> list[tuple[BulkRequest, Role | None]]:
    """Return the oldest unfinished request of each organization, and its key's role; None where it is revoked."""
    return [(BulkRequest(*row[:-1]), row[-1]) for row in await _SQL["unfinished"].fetch(connection)]


async def pending(connection: Connection, request: BulkRequest, limit: int) -> list[tuple[int, bytes | None]]:
    """Return the next items of a request: ordinals, and the items as they were sent; None once the ledger is purged."""
    rows = await _SQL["pending"].fetch(connection, organization=request.organization, request=request.id, limit=limit)
    return [(row[0], row[1]) for row in rows]


async def tell(connection: Connection, request: BulkRequest, told: Sequence[Told], told_at: datetime) -> None:
    """Write what became of items, of one at least, and count them; those told already are left as they are."""
    await _SQL["tell"].execute(
        connection,
        organization=request.organization,
        request=request.id,
        told_at=told_at,
        ordinals=[one.ordinal for one in told],
        ledgers=[one.ledger for one in told],
        statuses=[one.status for one in told],
        entity_types=[one.entity_type for one in told],
        entity_ids=[one.entity_id for one in told],
        entities=[one.entity for one in told],
    )
