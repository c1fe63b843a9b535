"""Ledger entries over HTTP: read, and annotate with metadata."""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Final

from msgspec import Struct

from doppia.accounting.errors import ObjectNotFound, ParameterInvalid
from doppia.accounting.ids import ORDINAL_BITS, Id
from doppia.accounting.texts import check_metadata
from doppia.api.http.lists import BOOLEAN, ListQuery, kinds_of, parse_list
from doppia.api.http.pages import answer_page, ledgers_of, order_of
from doppia.api.http.request import BodyDecoder, Reply, Request, encode
from doppia.api.http.wire import Metadata
from doppia.api.ledger.transactions import EntryObject, entry_object
from doppia.engine.ledger.entries import AnnotateEntry
from doppia.store.database.connections import Connection
from doppia.store.database.listing import Filter, Order, Place
from doppia.store.ledger import entries as store
from doppia.store.ledger import statements
from doppia.store.ledger.entries import EntryInTransaction


class EntryUpdate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What to change of an entry: metadata is merged in, and a key set to null or "" is removed."""

    example: ClassVar = {"metadata": {"receipt": "A-17"}}

    metadata: Metadata | None = None


_UPDATE: Final = BodyDecoder(EntryUpdate)

GET_FILTERS: Final = {"show_balances": BOOLEAN}
FILTERS: Final = kinds_of(store.PARAMETERS)


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


def _filters(query: ListQuery) -> list[Filter]:
    """Return the conditions of an entry list.

    Raises:
        ParameterInvalid: as_of_lock_version without the account whose version it is.
    """
    values = query.values
    filters = [found for found in query.filters if found.name != "show_deleted"]
    if "as_of_lock_version" in values:
        if "ledger_account_id" not in values:
            raise ParameterInvalid(parameter="as_of_lock_version", reason="needs ledger_account_id beside it")
    elif "ledger_account_statement_id" not in values and not values.get("show_deleted", False):
        filters.append(Filter("show_deleted", False))
    return filters


async def list_(request: Request) -> Reply:
    """List entries, the newest first unless order_by says otherwise; discarded ones only with show_deleted=true.

    Those of a statement are the entries that it was made of, be they discarded since.
    """
    query = parse_list(request.query, "ledger_entries", FILTERS)
    order = order_of(query, store.LIST.newest_first)
    query = query._replace(filters=_filters(query))
    list_page = partial(store.list_page, order=order)
    statement_id: Id | None = query.values.get("ledger_account_statement_id")
    if statement_id is not None:
        list_page = partial(_list_of_statement, statement_id, order)

    def place(row: EntryInTransaction) -> Place:
        entry = row.entry
        time = entry.created_at if order.time == "created_at" else entry.effective_at
        return Place(time, row.ledger, entry.sequence << ORDINAL_BITS | entry.ordinal)

    shows = query.values.get("show_balances", False)
    ledgers = await ledgers_of(request, query)
    return await answer_page(request, query, ledgers, list_page, place, partial(_object, shows_balances=shows))


async def _list_of_statement(
    statement_id: Id,
    order: Order,
    connection: Connection,
    ledgers: Sequence[int],
    filters: Sequence[Filter],
    after: Place | None,
    limit: int,
) -> list[EntryInTransaction]:
    """Return a page of the entries of a statement; none where no ledger of these has it."""
    if statement_id.ledger not in ledgers:
        return []
    statement = await statements.get(connection, statement_id.ledger, statement_id.sequence)
    if statement is None or statement.id != str(statement_id):
        return []
    return await statements.list_entries(connection, statement, filters, order, after, limit)


async def update(request: Request) -> Reply:
    """Update an entry's metadata."""
    body = request.decode(_UPDATE)
    id_ = await request.find(request.path["id"], "ledger_entry")
    metadata = check_metadata(body.metadata or {})
    command = AnnotateEntry(ledger=request.scope.ledger(id_.ledger), target=id_, metadata=metadata)
    return Reply(200, encode(_object(await request.perform(command, body), shows_balances=False)))
