"""Balances of accounts at other times than now, and recomputed from their entries."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import Sums
from doppia.store.database.connections import Connection, load_parts, load_queries
from doppia.store.database.listing import fill, number

_SQL: Final = load_queries("ledger/balances")
_IN_TIME: Final = load_parts("ledger/balances", "template")["in_time"]


class AsOf(NamedTuple):
    """Which balances are asked for; None asks nothing.

    Attributes:
        lock_version: as they stood after it.
        recorded_at: as they were known at this time; not both.
        from_time, before_time: over the entries that are effective from the one on and before the other.
    """

    lock_version: int | None = None
    recorded_at: datetime | None = None
    from_time: datetime | None = None
    before_time: datetime | None = None


def in_time(query: str, arguments: Sequence[Any], as_of: AsOf) -> tuple[str, list[Any]]:
    """Return the text and the arguments of a query of accounts that tells the balances asked for beside the current."""
    text, names = number(fill(_IN_TIME, {"accounts": query}), after=len(arguments))
    return text, [*arguments, *(getattr(as_of, name) for name in names)]


def account_as_of(account: Account, row: Any) -> Account:
    """Return an account with the lock version and the sums that were asked for, from a row of `in_time`."""
    sums = Sums(*(row[f"as_of_{name}"] for name in Sums._fields))
    return account._replace(lock_version=row["as_of_lock_version"], sums=sums)


class Recomputed(NamedTuple):
    """What an account's entries and discards say.

    Attributes:
        sums: what those in force sum to.
        holds: whether the stored sums are the same, and the lock version is their number of steps.
    """

    sums: Sums
    holds: bool


async def recompute(connection: Connection, ledger: int, account: int) -> Recomputed:
    """Fold all entries of an account, which takes as long as it has entries."""
    row = await _SQL["recompute"].fetchrow(connection, ledger=ledger, account=account)
    stored = Sums(*(row[name] for name in Sums._fields))
    folded = Sums(*(row[f"folded_{name}"] for name in Sums._fields))
    return Recomputed(folded, stored == folded and row["lock_version"] == row["steps"])
