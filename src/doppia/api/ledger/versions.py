"""Versions of ledger transactions over HTTP."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Final, Literal

from msgspec import Struct, structs

from doppia.accounting.errors import ObjectNotFound
from doppia.accounting.ids import VERSION_ORDINAL, Id, format_id
from doppia.accounting.platform.events import Event
from doppia.api.http.lists import (
    TIME,
    VERSIONS,
    ListQuery,
    id_filters,
    id_kind,
    named_ledgers,
    page_headers,
    parse_list,
)
from doppia.api.http.request import Reply, Request, encode
from doppia.api.http.wire import (
    LOCK_VERSION_MAX,
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
from doppia.proof.kinds import NUMBERS
from doppia.store.database.listing import Filter
from doppia.store.ledger import transactions as transaction_store
from doppia.store.ledger import versions as store
from doppia.store.ledger.versions import Version
from doppia.store.log.log import happening


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


OF_TRANSACTION_FILTERS: Final = {
    "id": id_kind("ledger_transaction_version", many=True),
    "created_at": TIME,
    "version": VERSIONS,
}
FILTERS: Final = {
    **OF_TRANSACTION_FILTERS,
    "ledger_id": id_kind("ledger"),
    "ledger_transaction_id": id_kind("ledger_transaction"),
    "ledger_account_statement_id": id_kind("ledger_account_statement"),
}

_MICROSECOND: Final = timedelta(microseconds=1)
_CREATED: Final = happening(NUMBERS["transaction"], Event.CREATED)
_CHANGED: Final = [happening(NUMBERS["transaction"], event) for event in (Event.UPDATED, Event.POSTED, Event.ARCHIVED)]
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


def _on_created_at(found: Filter) -> list[Filter]:
    """Say a comparison of times by the first and the last that are meant."""
    match found.comparison:
        case "gt":
            return [Filter("from_time", found.value + _MICROSECOND)]
        case "gte":
            return [Filter("from_time", found.value)]
        case "lt":
            return [Filter("to_time", found.value - _MICROSECOND)]
        case "lte":
            return [Filter("to_time", found.value)]
    return [Filter("from_time", found.value), Filter("to_time", found.value)]


def _happenings(versions: Iterable[Filter]) -> list[int]:
    """Return what may have written the versions that are asked for: a first one is a creation, the others are changes.

    Each is found by an index of its own, so that neither is walked through in search of the other.
    """
    found = {_CREATED, *_CHANGED}
    for _, bound, comparison in versions:
        least, most = 0, LOCK_VERSION_MAX
        match comparison:
            case "gt":
                least = bound + 1
            case "gte":
                least = bound
            case "lt":
                most = bound - 1
            case "lte":
                most = bound
            case _:
                least = most = bound
        if not least <= 0 <= most:
            found.discard(_CREATED)
        if most < 1:
            found.difference_update(_CHANGED)
    return sorted(found)


def _filters(query: ListQuery) -> list[Filter]:
    versions = [found for found in query.filters if found.name == "version"]
    filters = [Filter("happening", _happenings(versions)), *versions]
    for found in query.filters:
        if found.name == "created_at":
            filters += _on_created_at(found)
    for found in id_filters(query):
        filters.append(found._replace(name="version_id_exact") if found.name == "id_exact" else found)
    return filters


async def _page(request: Request, query: ListQuery, ledgers: Sequence[int], filters: Sequence[Filter]) -> Reply:
    statement: Id | None = query.values.get("ledger_account_statement_id")
    async with request.scope.connection() as connection:
        rows = await store.list_page(connection, ledgers, statement, filters, query.after, query.per_page + 1)
    page, headers = page_headers(query, rows, lambda version: version.row.place)
    objects = [to_object(version, request.scope.ledger_id(version.row.ledger)) for version in page]
    return Reply(200, encode(objects), headers)


async def list_(request: Request) -> Reply:
    """List versions of transactions, the newest first.

    Those of a statement are the newest ones, when it was made, of the transactions that have entries in it, in the
    order of these entries.
    """
    query = parse_list(request.query, "ledger_transaction_versions", FILTERS)
    filters = _filters(query)
    if "ledger_transaction_id" in query.values:
        filters.append(Filter("object", query.values["ledger_transaction_id"].sequence))
    ledgers = await request.scope.ledgers(named_ledgers(query))
    return await _page(request, query, ledgers, filters)


async def list_of_transaction(request: Request) -> Reply:
    """List the versions of a transaction, the newest first."""
    id_ = await request.find(request.path["id"], "ledger_transaction")
    query = parse_list(request.query, f"ledger_transactions/{id_}/versions", OF_TRANSACTION_FILTERS)
    async with request.scope.connection() as connection:
        found = (await transaction_store.get(connection, id_.ledger, [id_.sequence])).get(id_.sequence)
    if found is None or found.id != str(id_):
        raise ObjectNotFound(object="ledger_transaction", id=request.path["id"])
    return await _page(request, query, [id_.ledger], [*_filters(query), Filter("object", id_.sequence)])
