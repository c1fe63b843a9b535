"""Pages of lists: what a query asks for, read from the store and shown."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from doppia.accounting.errors import ParameterInvalid
from doppia.accounting.ids import Id, LedgerNumber
from doppia.api.http.lists import Kind, ListQuery, parse_list, write_cursor
from doppia.api.http.request import Reply, Request, encode
from doppia.store.database.connections import Connection
from doppia.store.database.listing import Filter, Order, Place

S = TypeVar("S")
T = TypeVar("T")

ListPage = Callable[[Connection, S, Sequence[Filter], Place | None, int], Awaitable[Sequence[T]]]
"""A function of the store that reads a page: with a connection, of what the list spans, by filters, after a place, at
most so many rows.
"""


def named_ledgers(query: ListQuery) -> set[int] | None:
    """Return the ledgers that every id of the query allows, None when it has none: ids name their ledgers."""
    named: set[int] | None = None
    for value in query.values.values():
        ids = value if isinstance(value, list) else [value]
        ledgers = {id_.ledger for id_ in ids if isinstance(id_, Id)}
        if ledgers:
            named = ledgers if named is None else named & ledgers
    return named


def order_of(query: ListQuery, newest_first: Order) -> Order:
    """Return the order a list was asked for, newest first where it was not.

    Raises:
        ParameterInvalid: two orders at once.
    """
    orders = [found for found in query.compared if found.name == "order_by"]
    if len(orders) > 1:
        raise ParameterInvalid(parameter="order_by", reason="takes one field only")
    if not orders:
        return newest_first
    return newest_first._replace(time=orders[0].comparison, direction=orders[0].value)


async def answer_list(
    request: Request,
    route: str,
    kinds: Mapping[str, Kind],
    list_page: ListPage[list[LedgerNumber], T],
    place: Callable[[T], Place],
    to_object: Callable[[T], Any],
) -> Reply:
    """Answer with a page of a list over the caller's ledgers.

    Args:
        request: the caller's.
        route: name of the list; see `parse_list`.
        kinds: the parameters that the list has.
        list_page: reads the rows.
        place: says where a row stands in the list.
        to_object: shows a row on the wire.

    Raises:
        What `parse_list` raises.
    """
    query = parse_list(request.query, route, kinds)
    return await answer_page(request, query, await ledgers_of(request, query), list_page, place, to_object)


async def answer_page(
    request: Request,
    query: ListQuery,
    spanned: S,
    list_page: ListPage[S, T],
    place: Callable[[T], Place],
    to_object: Callable[[T], Any],
) -> Reply:
    """Answer with the page that a query asks for; `spanned` is what the list spans, ledgers or an organization."""
    async with request.scope.connection() as connection:
        rows = await list_page(connection, spanned, query.filters, query.after, query.per_page + 1)
    page, headers = page_headers(query, rows, place)
    return Reply(200, encode([to_object(row) for row in page]), headers)


async def ledgers_of(request: Request, query: ListQuery) -> list[LedgerNumber]:
    """Return the ledgers that a list spans: those of the caller that all ids of the query allow."""
    return await request.scope.ledgers(named_ledgers(query))


def page_headers(
    query: ListQuery, rows: Sequence[T], place: Callable[[T], Place]
) -> tuple[Sequence[T], dict[str, str]]:
    """Return the rows of the page and its headers; one row more than asked for tells that there is a next page."""
    headers = {"X-Per-Page": str(query.per_page)}
    if len(rows) > query.per_page:
        rows = rows[: query.per_page]
        headers["X-After-Cursor"] = write_cursor(query.digest, place(rows[-1]))
    return rows, headers
