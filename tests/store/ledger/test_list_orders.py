"""Lists that are read along an account, or in parts that are merged, are the lists that a plain sort gives."""

import itertools
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import ModuleType
from typing import Any, Final
from uuid import uuid4

import asyncpg
import pytest

from doppia.accounting.ids import ORDINAL_BITS, Id
from doppia.store.database.connections import Connection, Database, load_filters, load_queries
from doppia.store.database.listing import Filter, Order, Place, compose
from doppia.store.ledger import entries, transactions
from tests.engine.bookkeeping import Books
from tests.servers import Server
from tests.store.database.poster import BEGIN, MIDNIGHT, PATTERNS, Poster

pytestmark = pytest.mark.anyio

PAGE: Final = 37


@dataclass
class Kept:
    """Books of random content, and the lists of them."""

    database: Database
    ledger: int
    accounts: Sequence[Id]

    async def pages(
        self, connection: Connection, module: ModuleType, filters: Sequence[Filter], order: Order
    ) -> list[int]:
        """Return the keys of all rows, read page by page."""
        keys: list[int] = []
        after: Place | None = None
        while True:
            rows = await module.list_page(connection, [self.ledger], filters, order, after, PAGE + 1)
            keys += [_place(row, order).key for row in rows[:PAGE]]
            if len(rows) <= PAGE:
                return keys
            after = _place(rows[PAGE - 1], order)

    async def sorted_(self, connection: Connection, name: str, filters: Sequence[Filter], order: Order) -> list[int]:
        """Return the same by one query that knows of no streams."""
        query, arguments = compose(
            load_queries(f"ledger/{name}")["list"].text, load_filters(f"ledger/{name}"), filters,
            ledgers=[self.ledger], order=order, after=None, limit=1_000_000,
        )  # fmt: skip
        return [row[order.key] for row in await connection.fetch(query, *arguments)]


def _place(row: Any, order: Order) -> Place:
    ledger, found = (row[0], row[1]) if isinstance(row[0], int) else (row.ledger, row.entry)
    key = found.sequence if order.key == "transaction_sequence" else found.sequence << ORDINAL_BITS | found.ordinal
    return Place(getattr(found, order.time), ledger, key)


@pytest.fixture(scope="module", params=["in all these ways", "when recorded", "at one midnight"])
async def kept(request: pytest.FixtureRequest, postgres: Server) -> AsyncIterator[Kept]:
    name = f"t{uuid4().hex}"
    connection = await asyncpg.connect(postgres.url)
    await connection.execute(f"create database {name} template template_doppia")
    database = Database(postgres.service_of(name))
    await database.open()
    books = await Books.begin(database)
    opened = [await books.open() for _ in range(3)]
    poster = Poster(books, random.Random(request.param), opened, PATTERNS[request.param], group_sizes=(1, 1, 2, 30))
    await poster.run(steps=700)
    yield Kept(database, books.ledger.ledger, opened)
    await database.close()
    await connection.execute(f"drop database {name} with (force)")
    await connection.close()


STATUSES: Final = [["pending"], ["posted"], ["archived"], ["pending", "archived"]]
MORE: Final[list[list[Filter]]] = [
    [],
    *([Filter("status", statuses)] for statuses in STATUSES),
    [Filter("effective_at", MIDNIGHT, "gte"), Filter("effective_at", BEGIN + timedelta(days=9), "lt")],
    [
        Filter("effective_at", BEGIN + timedelta(days=3), "gt"),
        Filter("effective_at", BEGIN + timedelta(days=30), "lte"),
    ],
    [Filter("effective_at", MIDNIGHT, "eq")],
    [Filter("effective_at", BEGIN + timedelta(days=5), "lt"), Filter("status", ["posted", "archived"])],
]
OF_ENTRIES: Final = [
    *MORE,
    [Filter("show_deleted", value=False)],
    [Filter("as_of_lock_version", 300)],
    [Filter("as_of_lock_version", 300), Filter("effective_at", BEGIN + timedelta(days=9), "lt")],
    [Filter("lock_version", 40, "gte"), Filter("lock_version", 500, "lt")],
    [Filter("direction", "credit"), Filter("amount", 7)],
]
OF_TRANSACTIONS: Final = [
    *MORE,
    [Filter("created_at", BEGIN + timedelta(days=9), "gte"), Filter("created_at", BEGIN + timedelta(days=20), "lt")],
    [Filter("created_at", BEGIN + timedelta(days=5), "lte")],
    [Filter("amount", 7)],
]


def orders(key: str, shift: int) -> list[Order]:
    return [
        Order(time, key, shift, direction)  # type: ignore[arg-type] # one of the two
        for time, direction in itertools.product(("created_at", "effective_at"), ("desc", "asc"))
    ]


@pytest.mark.parametrize("place", [None, 0, 1, 2], ids=["ledger", "first", "second", "third"])
async def test_entries_come_in_order_each_once(kept: Kept, place: int | None) -> None:
    of_account = [] if place is None else [Filter("ledger_account_id", kept.accounts[place].sequence)]
    async with kept.database.connection() as connection:
        for filters, order in itertools.product(OF_ENTRIES, orders("entry", ORDINAL_BITS)):
            if place is None and any("lock_version" in found.name for found in filters):
                continue
            asked = [*of_account, *filters]
            expected = await kept.sorted_(connection, "entries", asked, order)
            assert await kept.pages(connection, entries, asked, order) == expected, (filters, order)


@pytest.mark.parametrize("place", [None, 0, 1, 2], ids=["ledger", "first", "second", "third"])
async def test_transactions_come_in_order_each_once(kept: Kept, place: int | None) -> None:
    of_account = [] if place is None else [Filter("ledger_account_id", kept.accounts[place].sequence)]
    async with kept.database.connection() as connection:
        for filters, order in itertools.product(OF_TRANSACTIONS, orders("transaction_sequence", 0)):
            asked = [*of_account, *filters]
            expected = await kept.sorted_(connection, "transactions", asked, order)
            assert await kept.pages(connection, transactions, asked, order) == expected, (filters, order)
