"""Ledgers over HTTP."""

from typing import ClassVar, Final, Literal

from msgspec import UNSET, Struct, UnsetType

from doppia.accounting.errors import ObjectNotFound
from doppia.accounting.ledger.ledgers import Ledger
from doppia.accounting.texts import check_metadata
from doppia.api.http.auth import check_role
from doppia.api.http.lists import BOOLEAN, TEXT, kinds_of, parse_list
from doppia.api.http.pages import answer_list
from doppia.api.http.request import BodyDecoder, Reply, Request, encode
from doppia.api.http.wire import (
    Description,
    Metadata,
    Name,
    Object,
    Time,
    given,
    in_order,
    new_metadata,
    parse_object_id,
)
from doppia.engine.ledger.ledgers import CreateLedger, DiscardLedger, PurgeLedger, UpdateLedger
from doppia.store.database.listing import Place
from doppia.store.ledger import ledgers as store


class LedgerCreate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A ledger to create."""

    example: ClassVar = {"name": "Customer funds", "metadata": {"region": "PH"}}

    name: Name
    description: Description | None = None
    metadata: Metadata | None = None


class LedgerUpdate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What to change of a ledger; metadata is merged in, and a key set to null or "" is removed."""

    example: ClassVar = {"description": "Money that we hold for customers"}

    name: Name | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET


class LedgerObject(Object, kw_only=True):
    """A ledger: one set of books."""

    object: Literal["ledger"] = "ledger"
    name: str
    description: str | None
    metadata: dict[str, str]
    discarded_at: Time | None


_CREATE: Final = BodyDecoder(LedgerCreate)
_UPDATE: Final = BodyDecoder(LedgerUpdate)

FILTERS: Final = kinds_of(store.PARAMETERS)
DELETE_PARAMETERS: Final = {"purge": BOOLEAN, "confirm": TEXT}


def to_object(ledger: Ledger) -> LedgerObject:
    """Return a ledger as the wire shows it."""
    return LedgerObject(
        id=ledger.id,
        name=ledger.name,
        description=ledger.description,
        metadata=in_order(ledger.metadata),
        created_at=ledger.created_at,
        updated_at=ledger.updated_at,
        discarded_at=ledger.discarded_at,
    )


async def create(request: Request) -> Reply:
    """Create a ledger."""
    body = request.decode(_CREATE)
    command = CreateLedger(
        organization=request.principal.organization,
        name=body.name,
        description=body.description,
        metadata=new_metadata(body.metadata),
    )
    return Reply(201, encode(to_object(await request.perform(command, body))))


async def get(request: Request) -> Reply:
    """Get a ledger."""
    id_ = await request.find(request.path["id"], "ledger")
    async with request.scope.connection() as connection:
        ledger = await store.get(connection, id_.ledger)
    if ledger is None or ledger.id != str(id_):
        raise ObjectNotFound(object="ledger", id=request.path["id"])
    return Reply(200, encode(to_object(ledger)))


async def list_(request: Request) -> Reply:
    """List ledgers, the newest first."""
    return await answer_list(
        request,
        "ledgers",
        FILTERS,
        store.list_page,
        lambda row: Place(row.created_at, row.number, row.number),
        to_object,
    )


async def update(request: Request) -> Reply:
    """Update a ledger."""
    body = request.decode(_UPDATE)
    id_ = await request.find(request.path["id"], "ledger")
    changes = given(body, "name", "description", "metadata")
    check_metadata(changes.get("metadata") or {})
    command = UpdateLedger(ledger=request.scope.ledger(id_.ledger), **changes)
    return Reply(200, encode(to_object(await request.perform(command, body))))


async def delete(request: Request) -> Reply:
    """Discard a ledger with its accounts; with purge=true and confirm={id}, remove it and all its data for good."""
    parameters = parse_list(request.query, "ledger", DELETE_PARAMETERS, paged=False).values
    principal = request.principal
    if not parameters.get("purge", False):
        id_ = await request.find(request.path["id"], "ledger")
        discarded = await request.perform(DiscardLedger(ledger=request.scope.ledger(id_.ledger)), parameters)
        return Reply(200, encode(to_object(discarded)))
    check_role(principal, "admin")
    id_ = parse_object_id(request.path["id"], "ledger")
    command = PurgeLedger(organization=principal.organization, target=id_, confirmation=parameters.get("confirm"))
    return Reply(200, encode(to_object(await request.perform(command, parameters))))
