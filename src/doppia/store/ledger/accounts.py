"""Accounts in the database, with their balances."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from doppia.accounting.ids import format_id
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import Sums
from doppia.accounting.money import Currency
from doppia.store.database.connections import Connection, load_filters, load_queries
from doppia.store.database.listing import Filter, Order, Place, compose
from doppia.store.ledger import balances
from doppia.store.ledger.balances import AsOf

_SQL: Final = load_queries("ledger/accounts")
_FILTERS: Final = load_filters("ledger/accounts")


class AccountFields(NamedTuple):
    """An account with all its fields.

    Attributes:
        account: what the rules see of it.
        as_of: the same with the lock version and the balances of another time, where these were asked for.
    """

    account: Account
    ledger: int
    name: str
    description: str | None
    external_id: str | None
    ledgerable_type: str | None
    ledgerable_id: str | None
    metadata: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    discarded_at: datetime | None
    as_of: Account | None = None


def _fields(row: Any) -> AccountFields:
    account = Account(
        format_id(int(row["created_at"].timestamp()), row["ledger_id"], row["account_sequence"]),
        row["account_sequence"],
        Currency(row["currency"], row["currency_exponent"]),
        row["normal_balance"],
        row["discarded_at"] is None,
        row["lock_version"],
        Sums(row["posted_credits"], row["posted_debits"], row["pending_credits"], row["pending_debits"]),
    )
    return AccountFields(
        account,
        row["ledger_id"],
        row["name"],
        row["description"],
        row["external_id"],
        row["ledgerable_type"],
        row["ledgerable_id"],
        row["metadata"],
        row["created_at"],
        row["updated_at"],
        row["discarded_at"],
    )


def _fields_as_of(row: Any) -> AccountFields:
    fields = _fields(row)
    return fields._replace(as_of=balances.account_as_of(fields.account, row))


async def get_many(connection: Connection, ledger: int, sequences: Sequence[int]) -> dict[int, AccountFields]:
    """Return those of the accounts that there are, by sequence."""
    rows = await connection.fetch(_SQL["get"], ledger, sequences)
    return {row["account_sequence"]: _fields(row) for row in rows}


async def get(connection: Connection, ledger: int, sequence: int, as_of: AsOf | None = None) -> AccountFields | None:
    """Return an account, beside its current balances with those that are asked for."""
    if as_of is None:
        return (await get_many(connection, ledger, [sequence])).get(sequence)
    query, arguments = balances.in_time(_SQL["get"], [ledger, [sequence]], as_of)
    row = await connection.fetchrow(query, *arguments)
    return _fields_as_of(row) if row else None


async def list_page(
    connection: Connection,
    ledgers: Sequence[int],
    filters: Sequence[Filter],
    after: Place | None,
    limit: int,
    as_of: AsOf | None = None,
) -> list[AccountFields]:
    """Return a page of accounts, the newest first, each beside its current balances with those that are asked for."""
    order = Order("created_at", "account_sequence", 0, "desc")
    query, arguments = compose(_SQL["list"], _FILTERS, filters, ledgers=ledgers, order=order, after=after, limit=limit)
    if as_of is None:
        return [_fields(row) for row in await connection.fetch(query, *arguments)]
    query, arguments = balances.in_time(query, arguments, as_of)
    return [_fields_as_of(row) for row in await connection.fetch(query, *arguments)]


async def create(connection: Connection, fields: AccountFields) -> None:
    """Open an account at zero; the ledger's head is locked."""
    account = fields.account
    await connection.execute(
        _SQL["create"],
        fields.ledger,
        account.sequence,
        fields.created_at,
        fields.name,
        fields.description,
        account.currency.code,
        account.currency.exponent,
        account.normal_balance,
        fields.external_id,
        fields.ledgerable_type,
        fields.ledgerable_id,
        dict(fields.metadata),
    )


async def update(connection: Connection, fields: AccountFields) -> None:
    """Write an account's changed fields; the ledger's head is locked."""
    await connection.execute(
        _SQL["update"],
        fields.ledger,
        fields.account.sequence,
        fields.name,
        fields.description,
        fields.external_id,
        dict(fields.metadata),
        fields.updated_at,
        fields.ledgerable_type,
        fields.ledgerable_id,
    )


async def discard(connection: Connection, ledger: int, sequence: int, discarded_at: datetime) -> None:
    """Discard an account; the ledger's head is locked."""
    await connection.execute(_SQL["discard"], ledger, sequence, discarded_at)


async def external_id_holder(connection: Connection, ledger: int, external_id: str) -> tuple[int, str] | None:
    """Return sequence and id of the active account that has an external id."""
    row = await connection.fetchrow(_SQL["external_id_holder"], ledger, external_id)
    return (row[0], format_id(int(row[1].timestamp()), ledger, row[0])) if row else None


async def count_pending_entries(connection: Connection, ledger: int, sequence: int) -> int:
    """Return how many entries of an account are pending."""
    count: int = await connection.fetchval(_SQL["count_pending_entries"], ledger, sequence)
    return count
