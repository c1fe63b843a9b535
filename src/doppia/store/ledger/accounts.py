"""Accounts in the database, with their balances."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from doppia.accounting.ids import format_id
from doppia.accounting.ledger.accounts import Account, AccountFields
from doppia.accounting.ledger.balances import NOTHING, Sums
from doppia.accounting.money import Currency
from doppia.proof.records import AccountWritten, Origin, moment
from doppia.store.database.connections import Connection, load_queries
from doppia.store.database.listing import Filter, Listing, Order, Page, Place, Walk
from doppia.store.database.parameters import (
    BALANCE_AMOUNT,
    BALANCES,
    BOOLEAN,
    DIRECTION,
    METADATA,
    TEXT,
    TIME,
    Parameter,
    Plan,
    Reach,
    id_of,
    several,
    unfiltered,
)
from doppia.store.ledger import balances
from doppia.store.ledger.balances import AsOf

_SQL: Final = load_queries("ledger/accounts")


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
    rows = await connection.fetch(_SQL["get"].text, ledger, sequences)
    return {row["account_sequence"]: _fields(row) for row in rows}


async def get(connection: Connection, ledger: int, sequence: int, as_of: AsOf | None = None) -> AccountFields | None:
    """Return an account, beside its current balances with those that are asked for."""
    if as_of is None:
        return (await get_many(connection, ledger, [sequence])).get(sequence)
    query, arguments = balances.in_time(_SQL["get"].text, [ledger, [sequence]], as_of)
    row = await connection.fetchrow(query, *arguments)
    return _fields_as_of(row) if row else None


PARAMETERS: Final = (
    Parameter("id", several(id_of("ledger_account")), Reach.FEW, Plan.KEPT, ("id", "id_exact")),
    Parameter("name", several(TEXT), Reach.FEW, Plan.KEPT),
    unfiltered("ledger_id", id_of("ledger")),
    Parameter("external_id", TEXT, Reach.FEW, Plan.KEPT),
    Parameter("currency", TEXT, Reach.ANYWHERE, Plan.KEPT),
    Parameter("normal_balance", DIRECTION, Reach.ANYWHERE, Plan.KEPT),
    Parameter("ledger_account_category_id", id_of("ledger_account_category"), Reach.LEDGER_INDEX, Plan.KEPT),
    Parameter("discarded", BOOLEAN, Reach.ANYWHERE, Plan.KEPT),
    Parameter("created_at", TIME, Reach.ANYWHERE, Plan.KEPT),
    Parameter("updated_at", TIME, Reach.LEDGER_INDEX, Plan.BY_VALUE),
    Parameter("metadata", METADATA, Reach.LEDGER_INDEX, Plan.BY_VALUE),
    unfiltered("balances", BALANCES),
    Parameter("pending_balance_amount", BALANCE_AMOUNT, Reach.ANYWHERE, Plan.KEPT),
    Parameter("posted_balance_amount", BALANCE_AMOUNT, Reach.ANYWHERE, Plan.KEPT),
    Parameter("available_balance_amount", BALANCE_AMOUNT, Reach.ANYWHERE, Plan.KEPT),
)
LIST: Final = Listing(
    "ledger/accounts",
    PARAMETERS,
    walks=(Walk("by_filters", ("accounts_pkey",)),),
    newest_first=Order("created_at", "account_sequence", 0, "desc"),
)


async def list_page(
    connection: Connection,
    ledgers: Sequence[int],
    filters: Sequence[Filter],
    after: Place | None,
    limit: int,
    as_of: AsOf | None = None,
) -> list[AccountFields]:
    """Return a page of accounts, the newest first, each beside its current balances with those that are asked for."""
    page = Page(ledgers, filters, LIST.newest_first, after, limit)
    query, arguments = await LIST.query(connection, page)
    if as_of is None:
        return [_fields(row) for row in await connection.fetch(query, *arguments)]
    query, arguments = balances.in_time(query, arguments, as_of)
    return [_fields_as_of(row) for row in await connection.fetch(query, *arguments)]


async def external_id_holder(connection: Connection, ledger: int, external_id: str) -> tuple[int, str] | None:
    """Return sequence and id of the active account that has an external id."""
    row = await _SQL["external_id_holder"].fetchrow(connection, ledger=ledger, external_id=external_id)
    return (row[0], format_id(int(row[1].timestamp()), ledger, row[0])) if row else None


async def count_pending_entries(connection: Connection, ledger: int, sequence: int) -> int:
    """Return how many entries of an account are pending."""
    count: int = await _SQL["count_pending_entries"].fetchval(connection, ledger=ledger, account=sequence)
    return count


def record_of(fields: AccountFields, origin: Origin) -> AccountWritten:
    """Return the record that writes an account as it is."""
    account = fields.account
    return AccountWritten(
        **origin._asdict(),
        account=account.sequence,
        name=fields.name,
        description=fields.description,
        currency=account.currency.code,
        currency_exponent=account.currency.exponent,
        normal_balance=account.normal_balance,
        external_id=fields.external_id,
        ledgerable_type=fields.ledgerable_type,
        ledgerable_id=fields.ledgerable_id,
        metadata=dict(fields.metadata),
        discarded=fields.discarded_at is not None,
    )


def from_record(record: AccountWritten, ledger: int, created_at: datetime) -> AccountFields:
    """Return the account that a record writes, at zero, for records do not say its balances."""
    recorded_at = moment(record.recorded_at)
    account = Account(
        format_id(int(created_at.timestamp()), ledger, record.account),
        record.account,
        Currency(record.currency, record.currency_exponent),
        "credit" if record.normal_balance == "credit" else "debit",
        not record.discarded,
        0,
        NOTHING,
    )
    return AccountFields(
        account=account,
        ledger=ledger,
        name=record.name,
        description=record.description,
        external_id=record.external_id,
        ledgerable_type=record.ledgerable_type,
        ledgerable_id=record.ledgerable_id,
        metadata=record.metadata,
        created_at=created_at,
        updated_at=recorded_at,
        discarded_at=recorded_at if record.discarded else None,
    )


async def write(connection: Connection, ledger: int, record: AccountWritten) -> None:
    """Write what a record says of an account, which is opened at zero; the ledger's head is locked."""
    at = moment(record.recorded_at)
    if record.account == record.sequence:
        await _SQL["create"].execute(
            connection,
            ledger=ledger,
            account=record.account,
            created_at=at,
            name=record.name,
            description=record.description,
            currency=record.currency,
            currency_exponent=record.currency_exponent,
            normal_balance=record.normal_balance,
            external_id=record.external_id,
            ledgerable_type=record.ledgerable_type,
            ledgerable_id=record.ledgerable_id,
            metadata=record.metadata,
        )
        return
    await _SQL["update"].execute(
        connection,
        ledger=ledger,
        account=record.account,
        name=record.name,
        description=record.description,
        external_id=record.external_id,
        ledgerable_type=record.ledgerable_type,
        ledgerable_id=record.ledgerable_id,
        metadata=record.metadata,
        updated_at=at,
    )
    if record.discarded:
        await _SQL["discard"].execute(connection, ledger=ledger, account=record.account, discarded_at=at)
