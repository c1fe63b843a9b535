"""Ledger account categories over HTTP: the chart of accounts."""

from collections.abc import Sequence
from typing import ClassVar, Final, Literal

from msgspec import UNSET, Struct, UnsetType

from doppia.accounting.errors import ObjectNotFound
from doppia.accounting.ids import Id
from doppia.accounting.ledger.categories import CategoryFields
from doppia.accounting.money import currency
from doppia.accounting.texts import check_metadata
from doppia.api.http.lists import BOOLEAN, kinds_of, parse_list
from doppia.api.http.pages import ledgers_of, page_headers
from doppia.api.http.request import BodyDecoder, Reply, Request, encode
from doppia.api.http.wire import (
    BalancesObject,
    CategoryIds,
    CurrencyCode,
    CurrencyExponent,
    Description,
    ExternalId,
    Metadata,
    Name,
    Object,
    Time,
    UuidText,
    balances_of,
    given,
    in_order,
    new_metadata,
    parse_object_id,
)
from doppia.api.ledger.balances import OF_ACCOUNTS, BalancesAsked, VerifiedObject, read_balances
from doppia.engine.ledger.categories import (
    KIND,
    CreateCategory,
    DiscardCategory,
    PlaceAccount,
    PlaceCategory,
    UpdateCategory,
)
from doppia.store.database.connections import Connection
from doppia.store.database.listing import Place
from doppia.store.ledger import categories as store


class CategoryCreate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A category to create. It holds accounts and categories of its own currency and exponent."""

    example: ClassVar = {
        "name": "Customer wallets",
        "ledger_id": "65a1b2c3-0000-8000-8400-000000000400",
        "currency": "PHP",
        "normal_balance": "credit",
    }

    name: Name
    ledger_id: UuidText
    currency: CurrencyCode
    normal_balance: Literal["credit", "debit"]
    currency_exponent: CurrencyExponent | None = None
    description: Description | None = None
    external_id: ExternalId | None = None
    ledger_account_category_ids: CategoryIds | None = None
    metadata: Metadata | None = None


class CategoryUpdate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What to change of a category; metadata is merged in, and a key set to null or "" is removed."""

    example: ClassVar = {"description": "What we owe our customers"}

    name: Name | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    external_id: ExternalId | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET


class CategoryObject(Object, kw_only=True):
    """A category: accounts and other categories, and what all accounts in it sum to."""

    object: Literal["ledger_account_category"] = "ledger_account_category"
    ledger_id: UuidText
    name: str
    description: str | None
    normal_balance: Literal["credit", "debit"]
    external_id: str | None
    balances: BalancesObject
    metadata: dict[str, str]
    discarded_at: Time | None
    verified: VerifiedObject | UnsetType = UNSET


_CREATE: Final = BodyDecoder(CategoryCreate)
_UPDATE: Final = BodyDecoder(CategoryUpdate)

GET_PARAMETERS: Final = {"balances": OF_ACCOUNTS, "verify": BOOLEAN}
FILTERS: Final = kinds_of(store.PARAMETERS, balances=OF_ACCOUNTS)


def to_object(fields: CategoryFields, ledger_id: str, asked: BalancesAsked | None = None) -> CategoryObject:
    """Return a category as the wire shows it, its sums as the balances that were asked for."""
    category = fields.category
    show = asked.show if asked else balances_of
    return CategoryObject(
        id=category.id,
        ledger_id=ledger_id,
        name=fields.name,
        description=fields.description,
        normal_balance=category.normal_balance,
        external_id=fields.external_id,
        balances=show(fields.sums, category.normal_balance, category.currency),
        metadata=in_order(fields.metadata),
        created_at=fields.created_at,
        updated_at=fields.updated_at,
        discarded_at=fields.discarded_at,
    )


def read_parents(texts: Sequence[str] | None, ledger: Id) -> list[Id]:
    """Return the ids of categories to be in, which must be of the ledger that this id names.

    Raises:
        ObjectNotFound: a category that can't be, or is of another ledger.
    """
    read = []
    for position, text in enumerate(texts or ()):
        where = f"ledger_account_category_ids[{position}]"
        id_ = parse_object_id(text, KIND, where)
        if id_.ledger != ledger.ledger:
            raise ObjectNotFound(object=KIND, id=text, parameter=where)
        read.append(id_)
    return read


async def create(request: Request) -> Reply:
    """Create a category, which may be in others from the start."""
    body = request.decode(_CREATE)
    unit = currency(body.currency, body.currency_exponent)
    metadata = new_metadata(body.metadata)
    ledger = await request.find(body.ledger_id, "ledger", "ledger_id")
    command = CreateCategory(
        ledger=request.scope.ledger(ledger.ledger),
        name=body.name,
        currency=unit,
        normal_balance=body.normal_balance,
        description=body.description,
        external_id=body.external_id,
        metadata=metadata,
        parents=read_parents(body.ledger_account_category_ids, ledger),
    )
    return Reply(201, encode(to_object(await request.perform(command, body), command.ledger.id)))


async def _in_time(
    connection: Connection, rows: Sequence[CategoryFields], asked: BalancesAsked | None
) -> Sequence[CategoryFields]:
    """Return categories with the sums that were asked for."""
    if asked is None or not rows:
        return rows
    sums = await store.sums_in_time(connection, [(row.ledger, row.category.sequence) for row in rows], asked.as_of)
    return [row._replace(sums=sums[row.ledger, row.category.sequence]) for row in rows]


async def get(request: Request) -> Reply:
    """Get a category with its balances, now or at another time; recomputed from all entries with verify=true.

    At another time too, they are those of the accounts that are in it today.
    """
    query = parse_list(request.query, "ledger_account_category", GET_PARAMETERS, paged=False)
    asked = read_balances(query, request.now())
    id_ = await request.find(request.path["id"], KIND)
    async with request.scope.connection() as connection:
        fields = await store.get(connection, id_.ledger, id_.sequence)
        if fields is None or fields.category.id != str(id_):
            raise ObjectNotFound(object=KIND, id=request.path["id"])
        (shown,) = await _in_time(connection, [fields], asked)
        found = to_object(shown, request.scope.ledger_id(id_.ledger), asked)
        if query.values.get("verify"):
            kept, folded = await store.recompute(connection, id_.ledger, id_.sequence)
            side, unit = fields.category.normal_balance, fields.category.currency
            found.verified = VerifiedObject(kept == folded, balances_of(folded, side, unit))
    return Reply(200, encode(found))


async def list_(request: Request) -> Reply:
    """List categories, the newest first, with their balances now or at another time."""
    query = parse_list(request.query, "ledger_account_categories", FILTERS)
    asked = read_balances(query, request.now())
    ledgers = await ledgers_of(request, query)
    async with request.scope.connection() as connection:
        rows = await store.list_page(connection, ledgers, query.filters, query.after, query.per_page + 1)
        page, headers = page_headers(query, rows, lambda row: Place(row.created_at, row.ledger, row.category.sequence))
        page = await _in_time(connection, page, asked)
    return Reply(200, encode([to_object(row, request.scope.ledger_id(row.ledger), asked) for row in page]), headers)


async def update(request: Request) -> Reply:
    """Update a category."""
    body = request.decode(_UPDATE)
    id_ = await request.find(request.path["id"], KIND)
    changes = given(body, "name", "description", "external_id", "metadata")
    check_metadata(changes.get("metadata") or {})
    command = UpdateCategory(ledger=request.scope.ledger(id_.ledger), target=id_, **changes)
    return Reply(200, encode(to_object(await request.perform(command, body), command.ledger.id)))


async def delete(request: Request) -> Reply:
    """Discard a category; its accounts and the categories in it stay, outside it."""
    id_ = await request.find(request.path["id"], KIND)
    command = DiscardCategory(ledger=request.scope.ledger(id_.ledger), target=id_)
    return Reply(200, encode(to_object(await request.perform(command), command.ledger.id)))


async def _member(request: Request, kind: str, parameter: str) -> tuple[Id, Id]:
    """Return the ids that a path names: of a category, and of what is to be in it or not.

    Raises:
        ObjectNotFound: one can't be, or they are of two ledgers.
    """
    id_ = await request.find(request.path["id"], KIND)
    member = parse_object_id(request.path[parameter], kind, parameter)
    if member.ledger != id_.ledger:
        raise ObjectNotFound(object=kind, id=request.path[parameter], parameter=parameter)
    return id_, member


async def _place_account(request: Request, *, inside: bool) -> Reply:
    id_, account = await _member(request, "ledger_account", "ledger_account_id")
    ledger = request.scope.ledger(id_.ledger)
    await request.perform(PlaceAccount(ledger=ledger, category=id_, account=account, inside=inside))
    return Reply(200, b"")


async def add_account(request: Request) -> Reply:
    """Add an account to a category; where it is in it already, nothing changes."""
    return await _place_account(request, inside=True)


async def remove_account(request: Request) -> Reply:
    """Remove an account from a category; where it is not directly in it, nothing changes."""
    return await _place_account(request, inside=False)


async def _place_category(request: Request, *, inside: bool) -> Reply:
    id_, lower = await _member(request, KIND, "sub_category_id")
    ledger = request.scope.ledger(id_.ledger)
    await request.perform(PlaceCategory(ledger=ledger, upper=id_, lower=lower, inside=inside))
    return Reply(200, b"")


async def add_category(request: Request) -> Reply:
    """Add a category to another one; where it is in it already, nothing changes."""
    return await _place_category(request, inside=True)


async def remove_category(request: Request) -> Reply:
    """Remove a category from another one; where it is not directly in it, nothing changes."""
    return await _place_category(request, inside=False)
