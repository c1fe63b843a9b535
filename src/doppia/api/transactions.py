"""Ledger transactions over HTTP."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from doppia.accounting.errors import (
    MixedLedgers,
    ObjectNotFound,
    ParameterInvalid,
    ParameterMissing,
    TooFewEntries,
    TooManyEntries,
)
from doppia.accounting.ids import Id, format_id
from doppia.accounting.transactions import ENTRIES_MAX, Draft, Entry, Guard, Leg, Transaction
from doppia.api.pagination import (
    AMOUNT,
    DATE,
    METADATA,
    ORDER_BY,
    STATUS,
    TEXT,
    TIME,
    id_filters,
    id_kind,
    named_ledgers,
    order_of,
    page_headers,
    parse_list,
)
from doppia.api.request import BodyDecoder, Reply, Request, encode, reply
from doppia.api.wire import (
    BOUND_MAX,
    LOCK_VERSION_MAX,
    Amount,
    AmountText,
    BalancesObject,
    CurrencyExponent,
    DateText,
    Description,
    ExternalId,
    LedgerableText,
    LockVersion,
    Metadata,
    Object,
    SignedAmount,
    Time,
    TimeText,
    UuidText,
    balances,
    check_metadata,
    given,
    in_order,
    new_metadata,
    parse_date,
    parse_object_id,
    parse_time,
)
from doppia.engine.transactions import Create, Reverse, Revise
from doppia.store import transactions as store
from doppia.store.listing import Filter, Place

StatusText = Literal["pending", "posted", "archived"]


class BalanceLock(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a balance must be after the transaction; all that are given must hold."""

    gt: SignedAmount | None = None
    gte: SignedAmount | None = None
    eq: SignedAmount | None = None
    not_eq: SignedAmount | None = None
    lte: SignedAmount | None = None
    lt: SignedAmount | None = None


class EntryCreate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An entry of a transaction. Its amount is given as `amount`, as `amount_string`, or as both alike."""

    ledger_account_id: UuidText
    direction: Literal["credit", "debit"]
    amount: Amount | None = None
    amount_string: AmountText | None = None
    lock_version: LockVersion | None = None
    pending_balance_amount: BalanceLock | None = None
    posted_balance_amount: BalanceLock | None = None
    available_balance_amount: BalanceLock | None = None
    show_resulting_ledger_account_balances: bool | None = None
    effective_at: TimeText | None = None
    metadata: Metadata | None = None


EntryList = Annotated[list[EntryCreate], Meta(extra_json_schema={"minItems": 1, "maxItems": ENTRIES_MAX})]


class TransactionCreate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A transaction to create; pending unless `status` says otherwise."""

    ledger_entries: EntryList
    status: StatusText | None = None
    description: Description | None = None
    effective_at: TimeText | None = None
    effective_date: DateText | None = None
    external_id: ExternalId | None = None
    ledgerable_type: LedgerableText | None = None
    ledgerable_id: LedgerableText | None = None
    metadata: Metadata | None = None


class TransactionUpdate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What to change. All of a pending transaction can change; of a posted one metadata and external_id alone.

    `ledger_entries` replaces all entries; metadata is merged in, and a key set to null or "" is removed.
    """

    status: StatusText | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    effective_at: TimeText | UnsetType = UNSET
    external_id: ExternalId | UnsetType | None = UNSET
    ledger_entries: EntryList | UnsetType = UNSET
    ledgerable_type: LedgerableText | UnsetType | None = UNSET
    ledgerable_id: LedgerableText | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET


class ReversalCreate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The reversal of a posted transaction; posted, and effective when the original was, unless it says otherwise."""

    status: StatusText | None = None
    description: Description | None = None
    effective_at: TimeText | None = None
    external_id: ExternalId | None = None
    ledgerable_type: LedgerableText | None = None
    ledgerable_id: LedgerableText | None = None
    metadata: Metadata | None = None


class EntryObject(Object, kw_only=True):
    """An entry: one leg of a transaction. `status` is the transaction's when the entry was written."""

    object: Literal["ledger_entry"] = "ledger_entry"
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
    discarded_at: Time | None


class TransactionObject(Object, kw_only=True):
    """A transaction: a balanced set of entries, accepted or refused as a whole."""

    object: Literal["ledger_transaction"] = "ledger_transaction"
    ledger_id: UuidText
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
    partially_posts_ledger_transaction_id: UuidText | None = None
    metadata: dict[str, str]
    ledger_entries: list[EntryObject]


_CREATE: Final = BodyDecoder(TransactionCreate)
_UPDATE: Final = BodyDecoder(TransactionUpdate)
_REVERSAL: Final = BodyDecoder(ReversalCreate)

FILTERS: Final = {
    "id": id_kind("ledger_transaction", many=True),
    "ledger_id": id_kind("ledger"),
    "ledger_account_id": id_kind("ledger_account"),
    "external_id": TEXT,
    "ledgerable_type": TEXT,
    "ledgerable_id": TEXT,
    "reverses_ledger_transaction_id": id_kind("ledger_transaction"),
    "status": STATUS,
    "amount": AMOUNT,
    "effective_at": TIME,
    "effective_date": DATE,
    "posted_at": TIME,
    "created_at": TIME,
    "updated_at": TIME,
    "metadata": METADATA,
    "order_by": ORDER_BY,
}


def entry_object(entry: Entry, ledger: int, transaction_id: str, *, shows_balances: bool) -> EntryObject:
    """Return an entry as the wire shows it."""
    account = entry.account
    counts = entry.status != "archived"
    return EntryObject(
        id=format_id(int(entry.created_at.timestamp()), ledger, entry.sequence, entry.ordinal),
        created_at=entry.created_at,
        updated_at=entry.updated_at,
        ledger_account_id=account.id,
        ledger_account_currency=account.currency.code,
        ledger_account_currency_exponent=account.currency.exponent,
        ledger_account_lock_version=account.lock_version if counts else None,
        ledger_transaction_id=transaction_id,
        direction=entry.direction,
        amount=entry.amount,
        amount_string=str(entry.amount),
        status=entry.status,
        effective_at=entry.effective_at,
        resulting_ledger_account_balances=balances(account) if shows_balances and counts else None,
        metadata=in_order(entry.metadata),
        discarded_at=entry.discarded_at,
    )


def to_object(transaction: Transaction, ledger: int, ledger_id: str, shows: Sequence[bool] = ()) -> TransactionObject:
    """Return a transaction as the wire shows it.

    Args:
        transaction: with its entries in force.
        ledger: its number.
        ledger_id: its id.
        shows: for each entry whether its resulting balances are shown; none are when empty.
    """
    shown = shows or [False] * len(transaction.entries)
    return TransactionObject(
        id=transaction.id,
        ledger_id=ledger_id,
        status=transaction.status,
        description=transaction.description,
        external_id=transaction.external_id,
        effective_at=transaction.effective_at,
        effective_date=transaction.effective_at.date(),
        posted_at=transaction.posted_at,
        archived_reason=transaction.archived_reason,
        ledgerable_type=transaction.ledgerable_type,
        ledgerable_id=transaction.ledgerable_id,
        reverses_ledger_transaction_id=transaction.reverses and transaction.reverses[1],
        reversed_by_ledger_transaction_id=transaction.reversed_by and transaction.reversed_by[1],
        metadata=in_order(transaction.metadata),
        created_at=transaction.created_at,
        updated_at=transaction.updated_at,
        ledger_entries=[
            entry_object(entry, ledger, transaction.id, shows_balances=show)
            for entry, show in zip(transaction.entries, shown, strict=True)
        ],
    )


def _renderer(
    request: Request, ledger: int, entries: Sequence[EntryCreate] = ()
) -> tuple[Callable[[Transaction], bytes], bool]:
    """Return what makes the answer's body, and whether that body shows balances."""
    ledger_id = request.service.ledger_id(ledger)
    shows = [bool(entry.show_resulting_ledger_account_balances) for entry in entries]
    if not any(shows):
        shows = []
    return lambda transaction: encode(to_object(transaction, ledger, ledger_id, shows)), bool(shows)


_COMPARISONS: Final = ("gt", "gte", "eq", "not_eq", "lte", "lt")


def _guards(entry: EntryCreate, parameter: str) -> tuple[Guard, ...]:
    guards = []
    for name, lock in (
        ("pending", entry.pending_balance_amount),
        ("posted", entry.posted_balance_amount),
        ("available", entry.available_balance_amount),
    ):
        if lock is None:
            continue
        bounds = [(comparison, getattr(lock, comparison)) for comparison in _COMPARISONS]
        for comparison, bound in bounds:
            if bound is None:
                continue
            if abs(bound) > BOUND_MAX:
                raise ParameterInvalid(
                    parameter=f"{parameter}.{name}_balance_amount.{comparison}", reason="is beyond 10^45"
                )
            guards.append(Guard(name, comparison, bound))  # type: ignore[arg-type] # the words of the rules
    return tuple(guards)


_DIGITS: Final = re.compile(r"0|[1-9]\d{0,39}", re.ASCII)


def _amount(entry: EntryCreate, parameter: str) -> int:
    if entry.amount_string is None:
        if entry.amount is None:
            raise ParameterMissing(parameter=f"{parameter}.amount")
        return entry.amount
    if _DIGITS.fullmatch(entry.amount_string) is None:
        raise ParameterInvalid(
            parameter=f"{parameter}.amount_string", reason='must be a whole number of minor units, such as "1000"'
        )
    amount = int(entry.amount_string)
    if entry.amount not in (None, amount):
        raise ParameterInvalid(parameter=f"{parameter}.amount_string", reason="says another number than amount")
    return amount


def _leg(entry: EntryCreate, parameter: str) -> tuple[Leg, Id]:
    id_ = parse_object_id(entry.ledger_account_id, "ledger_account", f"{parameter}.ledger_account_id")
    if entry.lock_version is not None and not 0 <= entry.lock_version <= LOCK_VERSION_MAX:
        raise ParameterInvalid(parameter=f"{parameter}.lock_version", reason="is no lock version")
    leg = Leg(
        id_.sequence,
        str(id_),
        entry.direction,
        _amount(entry, parameter),
        entry.lock_version,
        _guards(entry, parameter),
        None if entry.effective_at is None else parse_time(entry.effective_at, f"{parameter}.effective_at"),
        new_metadata(entry.metadata, f"{parameter}.metadata"),
    )
    return leg, id_


async def _legs(request: Request, entries: Sequence[EntryCreate], expected: Id | None = None) -> tuple[list[Leg], Id]:
    """Return the legs, and an account's id for the ledger they name; `expected` is an id of the ledger it must be.

    Raises:
        TooManyEntries.
        ObjectNotFound: an account that can't be, or is of a ledger that the caller doesn't have.
        MixedLedgers: accounts of several ledgers.
    """
    service, organization = request.service, request.principal.organization
    if len(entries) > ENTRIES_MAX:
        raise TooManyEntries(count=len(entries), count_max=ENTRIES_MAX)
    read = [_leg(entry, f"ledger_entries[{position}]") for position, entry in enumerate(entries)]
    legs, ids = [leg for leg, _ in read], [id_ for _, id_ in read]
    owned = {ledger for ledger in {id_.ledger for id_ in ids} if await service.owns(organization, ledger)}
    for position, id_ in enumerate(ids):
        if id_.ledger not in owned:
            raise ObjectNotFound(
                object="ledger_account", id=str(id_), parameter=f"ledger_entries[{position}].ledger_account_id"
            )
    numbers = {id_.ledger for id_ in ids} | ({expected.ledger} if expected else set())
    if len(numbers) > 1:
        raise MixedLedgers(ledger_ids=[service.ledger_id(number) for number in sorted(numbers)])
    return legs, ids[0]


def _effective_at(time: str | None, date_: str | None = None) -> datetime | None:
    if time is not None:
        return parse_time(time, "effective_at")
    if date_ is not None:
        return parse_time(f"{parse_date(date_, 'effective_date')}T00:00:00Z", "effective_date")
    return None


async def create(request: Request) -> Reply:
    """Create a transaction."""
    body = request.decode(_CREATE)
    if not body.ledger_entries:
        raise TooFewEntries(parameter="ledger_entries")
    if body.effective_at is not None and body.effective_date is not None:
        raise ParameterInvalid(parameter="effective_date", reason="and effective_at are given; one is enough")
    legs, account = await _legs(request, body.ledger_entries)
    draft = Draft(
        legs,
        body.status or "pending",
        body.description,
        body.external_id,
        _effective_at(body.effective_at, body.effective_date),
        body.ledgerable_type,
        body.ledgerable_id,
        new_metadata(body.metadata),
    )
    render, shows = _renderer(request, account.ledger, body.ledger_entries)
    return reply(
        await request.service.groups.submit(
            Create(
                ledger=account,
                actor=request.principal.key_id.bytes,
                key=request.key(body),
                size_bytes=len(request.body),
                status=201,
                render=render,
                keep_answer=shows,
                draft=draft,
            )
        )
    )


async def get(request: Request) -> Reply:
    """Get a transaction with its entries."""
    service = request.service
    id_ = await service.find(request.principal, request.path["id"], "ledger_transaction")
    async with service.database.connection() as connection:
        found = (await store.get(connection, id_.ledger, [id_.sequence])).get(id_.sequence)
    if found is None or found.id != str(id_):
        raise ObjectNotFound(object="ledger_transaction", id=request.path["id"])
    return Reply(200, encode(to_object(found, id_.ledger, service.ledger_id(id_.ledger))))


def _filters(values: Mapping[str, Any]) -> list[Filter]:
    """Return the conditions of the filters that take no comparison."""
    filters = [
        Filter(name, values[name])
        for name in ("external_id", "ledgerable_type", "ledgerable_id", "status", "metadata")
        if name in values
    ]
    if (account := values.get("ledger_account_id")) is not None:
        filters.append(Filter("ledger_account_id", account.sequence))
    if (reversed_ := values.get("reverses_ledger_transaction_id")) is not None:
        filters.append(Filter("reverses", reversed_.sequence))
    return filters


async def list_(request: Request) -> Reply:
    """List transactions, the newest first unless order_by says otherwise."""
    service = request.service
    query = parse_list(request.query, "ledger_transactions", FILTERS)
    order = order_of(query, "transaction_sequence", 0)
    compared = [found for found in query.filters if found.name != "order_by"]
    filters = [*compared, *id_filters(query), *_filters(query.values)]
    ledgers = await service.scope(request.principal, named_ledgers(query))
    async with service.database.connection() as connection:
        rows = await store.list_page(connection, ledgers, filters, order, query.after, query.per_page + 1)

    def place(row: tuple[int, Transaction]) -> Place:
        ledger, transaction = row
        time = transaction.created_at if order.time == "created_at" else transaction.effective_at
        return Place(time, ledger, transaction.sequence)

    page, headers = page_headers(query, rows, place)
    objects = [to_object(transaction, ledger, service.ledger_id(ledger)) for ledger, transaction in page]
    return Reply(200, encode(objects), headers)


async def update(request: Request) -> Reply:
    """Update a transaction."""
    body = request.decode(_UPDATE)
    target = await request.service.find(request.principal, request.path["id"], "ledger_transaction")
    changes = given(body, "status", "description", "external_id", "ledgerable_type", "ledgerable_id", "metadata")
    check_metadata(changes.get("metadata") or {})
    if body.effective_at is not UNSET:
        changes["effective_at"] = parse_time(body.effective_at, "effective_at")
    entries: list[EntryCreate] = [] if body.ledger_entries is UNSET else body.ledger_entries
    if body.ledger_entries is not UNSET:
        changes["legs"] = (await _legs(request, entries, target))[0] if entries else []
    render, shows = _renderer(request, target.ledger, entries)
    return reply(
        await request.service.groups.submit(
            Revise(
                ledger=target,
                actor=request.principal.key_id.bytes,
                key=request.key(body),
                size_bytes=len(request.body),
                status=200,
                render=render,
                keep_answer=shows,
                target=target,
                changes=changes,
            )
        )
    )


async def reverse(request: Request) -> Reply:
    """Reverse a posted transaction."""
    body = request.decode(_REVERSAL)
    target = await request.service.find(request.principal, request.path["id"], "ledger_transaction")
    draft = Draft(
        (),
        body.status or "posted",
        body.description,
        body.external_id,
        _effective_at(body.effective_at),
        body.ledgerable_type,
        body.ledgerable_id,
        new_metadata(body.metadata),
    )
    render, _ = _renderer(request, target.ledger)
    return reply(
        await request.service.groups.submit(
            Reverse(
                ledger=target,
                actor=request.principal.key_id.bytes,
                key=request.key(body),
                size_bytes=len(request.body),
                status=201,
                render=render,
                target=target,
                draft=draft,
            )
        )
    )
