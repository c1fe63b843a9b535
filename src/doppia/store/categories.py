"""Categories in the database: the chart of accounts."""

from collections.abc import Iterable
from typing import Final

from doppia.accounting.balances import Sums
from doppia.accounting.categories import Category, Chart
from doppia.accounting.ids import format_id
from doppia.accounting.money import Currency
from doppia.store.database import Connection, load_queries

_SQL: Final = load_queries("categories")


async def chart(connection: Connection, ledger: int, sequences: Iterable[int]) -> Chart:
    """Return those of the categories that exist, each with its sets, and what the accounts of these sum to."""
    wanted = list(sequences)
    sets: dict[int, set[int]] = {}
    sums: dict[int, Sums] = {}
    for row in await connection.fetch(_SQL["sets"], ledger, wanted):
        sets.setdefault(row[0], set()).add(row[1])
        sums[row[1]] = Sums(row[2], row[3], row[4], row[5])
    categories = {
        row[0]: Category(
            format_id(int(row[1].timestamp()), ledger, row[0]),
            row[0],
            Currency(row[2], row[3]),
            row[4],
            row[5],
            frozenset(sets.get(row[0], ())),
        )
        for row in await connection.fetch(_SQL["categories"], ledger, wanted)
    }
    return Chart(categories, sums)
