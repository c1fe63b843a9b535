"""Ledger entries over HTTP: read, and annotate with metadata."""

from typing import ClassVar, Final

from msgspec import Struct

from doppia.accounting.errors import ObjectNotFound, ParameterInvalid
from doppia.accounting.ids import ORDINAL_BITS, Id
from doppia.accounting.texts import check_metadata
from doppia.api.http.lists import (
    AMOUNT,
    BOOLEAN,
    DATE,
    DIRECTION,
    METADATA,
    ORDER_BY,
    STATUS,
    TIME,
    VERSION,
    VERSIONS,
    ListQuery,
    id_filters,
    id_kind,
    named_ledgers,
    order_of,
    page_headers,
    parse_list,
)
from doppia.api.http.request import BodyDecoder, Reply, Request, encode
from doppia.api.http.wire import Metadata
from doppia.api.ledger.transactions import EntryObject, entry_object
from doppia.engine.ledger.entries import AnnotateEntry
from doppia.store.database.listing import Filter, Order, Place
from doppia.store.ledger import entries as store
from doppia.store.ledger import statements
from doppia.store.ledger.entries import EntryInTransaction


class EntryUpdate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What to change of an entry: metadata is merged in, and a key set to null or "" is removed."""

    example: ClassVar = {"metadata": {"receipt": "A-17"}}

    metadata: Metadata | None = None


_UPDATE: Final = BodyDecoder(EntryUpdate)

_NUMBER_MAX: Final = 2**63 - 1

GET_FILTERS: Final = {"show_balances": BOOLEAN}
FILTERS: Final = {
    "id": id_kind("ledger_entry", many=True),
    "ledger_account_id": id_kind("ledger_account"),
    "ledger_account_category_id": id_kind("ledger_account_category"),
    "ledger_transaction_id": id_kind("ledger_transaction"),
    "ledger_account_settlement_id": id_kind("ledger_account_settlement"),
    "ledger_account_statement_id": id_kind("ledger_account_statement"),
    "direction": DIRECTION,
    "status": STATUS,
    "amount": AMOUNT,
    "effective_at": TIME,
    "effective_date": DATE,
    "updated_at": TIME,
    "as_of_lock_version": VERSION,
    "ledger_account_lock_version": VERSIONS,
    "show_balances": BOOLEAN,
    "show_deleted": BOOLEAN,
    "metadata": METADATA,
    "order_by": ORDER_BY,
}


def _object(found: EntryInTransaction, *, shows_balances: bool) -> EntryObject:
    return entry_object(found.entry, found.ledger, found.transaction_id, shows_balances=shows_balances)


async def get(request: Request) -> Reply:
    """Get an entry."""
    query = parse_list(request.query, "ledger_entry", GET_FILTERS, paged=False)
    id_ = await request.find(request.path["id"], "ledger_entry")
    async with request.scope.connection() as connection:
        found = await store.get(connection, id_)
    if found is None:
        raise ObjectNotFound(object="ledger_entry", id=request.path["id"])
    return Reply(200, encode(_object(found, shows_balances=query.values.get("show_balances", False))))


def _filters(query: ListQuery, order: Order) -> list[Filter]:
    """Return the conditions of an entry list.

    Raises:
        ParameterInvalid: as_of_lock_version without the account whose version it is.
    """
    values = query.values
    filters = [
        found._replace(name="lock_version") if found.name == "ledger_account_lock_version" else found
        for found in query.filters
        if found.name != "order_by"
    ]
    filters += id_filters(query)
    for name in ("direction", "status", "metadata"):
        if name in values:
            filters.append(Filter(name, values[name]))
    for name in ("ledger_account_id", "ledger_account_category_id", "ledger_transaction_id"):
        if name in values:
            filters.append(Filter(name, values[name].sequence))
    if "ledger_account_settlement_id" in values:
        filters.append(_of_settlement(query, order))
    if "as_of_lock_version" in values:
        if "ledger_account_id" not in values:
            raise ParameterInvalid(parameter="as_of_lock_version", reason="needs ledger_account_id beside it")
        filters.append(Filter("as_of_lock_version", values["as_of_lock_version"]))
    elif "ledger_account_statement_id" not in values and not values.get("show_deleted", False):
        filters.append(Filter("show_deleted", False))
    return filters


def _of_settlement(query: ListQuery, order: Order) -> Filter:
    """Return the condition that an entry is in a settlement.

    A page in the order of creation lies beyond a number, to which the index of the settlement's entries goes at once.
    """
    first, last = 0, _NUMBER_MAX
    if query.after is not None and order.time == "created_at" and "ledger_account_statement_id" not in query.values:
        first, last = (first, query.after.key) if order.direction == "desc" else (query.after.key, last)
    settlement: Id = query.values["ledger_account_settlement_id"]
    return Filter("of_settlement", [settlement.sequence, first, last])


async def list_(request: Request) -> Reply:
    """List entries, the newest first unless order_by says otherwise; discarded ones only with show_deleted=true.

    Those of a statement are the entries that it was made of, be they discarded since.
    """
    query = parse_list(request.query, "ledger_entries", FILTERS)
    order = order_of(query, "entry", ORDINAL_BITS)
    filters = _filters(query, order)
    ledgers = await request.scope.ledgers(named_ledgers(query))
    statement_id: Id | None = query.values.get("ledger_account_statement_id")
    page_of = (filters, order, query.after, query.per_page + 1)
    rows: list[EntryInTransaction] = []
    async with request.scope.connection() as connection:
        if statement_id is None:
            rows = await store.list_page(connection, ledgers, *page_of)
        elif statement_id.ledger in ledgers:
            statement = await statements.get(connection, statement_id.ledger, statement_id.sequence)
            if statement is not None and statement.id == str(statement_id):
                rows = await statements.list_entries(connection, statement, *page_of)

    def place(row: EntryInTransaction) -> Place:
        entry = row.entry
        time = entry.created_at if order.time == "created_at" else entry.effective_at
        return Place(time, row.ledger, entry.sequence << ORDINAL_BITS | entry.ordinal)

    page, headers = page_headers(query, rows, place)
    shows = query.values.get("show_balances", False)
    return Reply(200, encode([_object(row, shows_balances=shows) for row in page]), headers)


async def update(request: Request) -> Reply:
    """Update an entry's metadata."""
    body = request.decode(_UPDATE)
    id_ = await request.find(request.path["id"], "ledger_entry")
    metadata = check_metadata(body.metadata or {})
    command = AnnotateEntry(ledger=request.scope.ledger(id_.ledger), target=id_, metadata=metadata)
    return Reply(200, encode(_object(await request.perform(command, body), shows_balances=False)))
