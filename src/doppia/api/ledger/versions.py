"""Versions of ledger transactions over HTTP."""

from collections.abc import Sequence
from datetime import date
from functools import partial
from typing import Final, Literal

from msgspec import Struct, structs

from doppia.accounting.errors import ObjectNotFound
from doppia.accounting.ids import VERSION_ORDINAL, format_id
from doppia.api.http.lists import ListQuery, kinds_of, parse_list
from doppia.api.http.pages import answer_page, ledgers_of
from doppia.api.http.request import Reply, Request
from doppia.api.http.wire import (
    Amount,
    AmountText,
    BalancesObject,
    CurrencyExponent,
    LockVersion,
    Time,
    UuidText,
)
from doppia.api.ledger import transactions
from doppia.api.ledger.drafts import StatusText
from doppia.store.database.listing import Filter
from doppia.store.ledger import transactions as transaction_store
from doppia.store.ledger import versions as store
from doppia.store.ledger.versions import Version


class VersionEntryObject(Struct, kw_only=True):
    """An entry as it was at a version of its transaction."""

    id: UuidText
    object: Literal["ledger_entry"] = "ledger_entry"
    live_mode: bool = True
    created_at: Time
    ledger_account_id: UuidText
    ledger_account_currency: str
    ledger_account_currency_exponent: CurrencyExponent
    ledger_account_lock_version: LockVersion | None
    ledger_transaction_id: UuidText
    direction: Literal["credit", "debit"]
    amount: Amount
    amount_string: AmountText
    status: StatusText
    effective_at: Time
    resulting_ledger_account_balances: BalancesObject | None
    metadata: dict[str, str]


class VersionObject(Struct, kw_only=True):
    """A transaction as one change left it; it never changes. `version` counts the changes before it."""

    id: UuidText
    object: Literal["ledger_transaction_version"] = "ledger_transaction_version"
    live_mode: bool = True
    created_at: Time
    ledger_id: UuidText
    ledger_transaction_id: UuidText
    version: int
    status: StatusText
    description: str | None
    external_id: str | None
    effective_at: Time
    effective_date: date
    posted_at: Time | None
    archived_reason: str | None
    ledgerable_type: str | None
    ledgerable_id: str | None
    reverses_ledger_transaction_id: UuidText | None
    reversed_by_ledger_transaction_id: UuidText | None
    partially_posts_ledger_transaction_id: UuidText | None
    expires_at: Time | None
    metadata: dict[str, str]
    ledger_entries: list[VersionEntryObject]


OF_TRANSACTION_FILTERS: Final = kinds_of(store.OF_TRANSACTION_PARAMETERS)
FILTERS: Final = kinds_of(store.PARAMETERS)

_ENTRY_FIELDS: Final = tuple(field.name for field in structs.fields(VersionEntryObject))
_SHARED_FIELDS: Final = tuple(
    field.name
    for field in structs.fields(VersionObject)
    if field.name in transactions.TransactionObject.__struct_fields__
    and field.name not in {"id", "object", "created_at", "ledger_entries"}
)


def to_object(version: Version, ledger_id: str) -> VersionObject:
    """Return a version as the wire shows it."""
    row = version.row
    shown = transactions.to_object(version.transaction, row.ledger, ledger_id)
    return VersionObject(
        id=format_id(int(row.recorded_at.timestamp()), row.ledger, row.sequence, VERSION_ORDINAL),
        created_at=row.recorded_at,
        ledger_transaction_id=shown.id,
        version=version.transaction.version,
        ledger_entries=[
            VersionEntryObject(**{name: getattr(entry, name) for name in _ENTRY_FIELDS})
            for entry in shown.ledger_entries
        ],
        **{name: getattr(shown, name) for name in _SHARED_FIELDS},
    )


async def list_(request: Request) -> Reply:
    """List versions of transactions, the newest first.

    Those of a statement are the newest ones, when it was made, of the transactions that have entries in it, in the
    order of these entries.
    """
    query = parse_list(request.query, "ledger_transaction_versions", FILTERS)
    return await _answer(request, query, await ledgers_of(request, query))


async def list_of_transaction(request: Request) -> Reply:
    """List the versions of a transaction, the newest first."""
    id_ = await request.find(request.path["id"], "ledger_transaction")
    query = parse_list(request.query, f"ledger_transactions/{id_}/versions", OF_TRANSACTION_FILTERS)
    async with request.scope.connection() as connection:
        found = (await transaction_store.get(connection, id_.ledger, [id_.sequence])).get(id_.sequence)
    if found is None or found.id != str(id_):
        raise ObjectNotFound(object="ledger_transaction", id=request.path["id"])
    query = query._replace(filters=[*query.filters, Filter("object", id_.sequence)])
    return await _answer(request, query, [id_.ledger])


async def _answer(request: Request, query: ListQuery, ledgers: Sequence[int]) -> Reply:
    return await answer_page(
        request,
        query,
        ledgers,
        partial(store.list_page, statement=query.values.get("ledger_account_statement_id")),
        lambda version: version.row.place,
        lambda version: to_object(version, request.scope.ledger_id(version.row.ledger)),
    )
