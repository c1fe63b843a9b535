"""Transactions as they are asked for over HTTP: bodies of requests, read into the drafts and legs of the rules."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

from doppia.accounting.errors import (
    MixedLedgers,
    ObjectNotFound,
    ParameterInvalid,
    ParameterMissing,
    TooFewEntries,
    TooManyEntries,
)
from doppia.accounting.ids import Id
from doppia.accounting.ledger.transaction_life import Revision
from doppia.accounting.ledger.transactions import ENTRIES_MAX, CategoryGuards, Draft, Guard, Leg
from doppia.accounting.money import BOUND_MAX
from doppia.accounting.revisions import UNCHANGED, Unchanged
from doppia.accounting.texts import check_metadata
from doppia.api.http.request import Request
from doppia.api.http.wire import (
    LOCK_VERSION_MAX,
    Amount,
    AmountText,
    DateText,
    Description,
    ExternalId,
    LedgerableText,
    LockVersion,
    Metadata,
    SignedAmount,
    TimeText,
    UuidText,
    new_metadata,
    parse_date,
    parse_object_id,
    parse_time,
)

T = TypeVar("T")

StatusText = Literal["pending", "posted", "archived"]
CATEGORY_LOCKS_MAX: Final = 100


class BalanceLock(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a balance must be after the transaction; all that are given must hold."""

    gt: SignedAmount | None = None
    gte: SignedAmount | None = None
    eq: SignedAmount | None = None
    not_eq: SignedAmount | None = None
    lte: SignedAmount | None = None
    lt: SignedAmount | None = None


class Locks(Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Balance locks on the three balances."""

    pending_balance_amount: BalanceLock | None = None
    posted_balance_amount: BalanceLock | None = None
    available_balance_amount: BalanceLock | None = None


class CategoryBalanceLock(Locks, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Balance locks on a category, which holds at least one account that the transaction writes."""

    ledger_account_category_id: UuidText


class EntryPart(Locks, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """An entry of a partial post. Its amount is given as `amount`, as `amount_string`, or as both alike."""

    ledger_account_id: UuidText
    direction: Literal["credit", "debit"]
    amount: Amount | None = None
    amount_string: AmountText | None = None
    lock_version: LockVersion | None = None
    show_resulting_ledger_account_balances: bool | None = None
    metadata: Metadata | None = None


class EntryCreate(EntryPart, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """An entry of a transaction. Its amount is given as `amount`, as `amount_string`, or as both alike."""

    effective_at: TimeText | None = None


EntryList = Annotated[list[EntryCreate], Meta(extra_json_schema={"minItems": 1, "maxItems": ENTRIES_MAX})]
PartList = Annotated[list[EntryPart], Meta(extra_json_schema={"minItems": 1, "maxItems": ENTRIES_MAX})]
CategoryLocks = Annotated[list[CategoryBalanceLock], Meta(extra_json_schema={"maxItems": CATEGORY_LOCKS_MAX})]


class TransactionCreate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A transaction to create; pending unless `status` says otherwise."""

    example: ClassVar = {
        "status": "posted",
        "description": "Cash-in",
        "external_id": "cash-in-1",
        "ledger_entries": [
            {"ledger_account_id": "65a1b2c3-0000-8000-8400-000000000800", "direction": "debit", "amount": 100_000},
            {
                "ledger_account_id": "65a1b2c3-0000-8000-8400-000000000c00",
                "direction": "credit",
                "amount": 100_000,
                "available_balance_amount": {"gte": 0},
            },
        ],
    }

    ledger_entries: EntryList
    status: StatusText | None = None
    description: Description | None = None
    effective_at: TimeText | None = None
    effective_date: DateText | None = None
    external_id: ExternalId | None = None
    ledgerable_type: LedgerableText | None = None
    ledgerable_id: LedgerableText | None = None
    metadata: Metadata | None = None
    expires_at: TimeText | None = None
    ledger_account_category_balance_locks: CategoryLocks | None = None
    archive_on_balance_lock_failure: bool | None = None


class TransactionUpdate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What to change. All of a pending transaction can change; of a posted one metadata and external_id alone.

    `ledger_entries` replaces all entries; metadata is merged in, and a key set to null or "" is removed.
    """

    example: ClassVar = {"status": "posted"}

    status: StatusText | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    effective_at: TimeText | UnsetType = UNSET
    external_id: ExternalId | UnsetType | None = UNSET
    ledger_entries: EntryList | UnsetType = UNSET
    ledgerable_type: LedgerableText | UnsetType | None = UNSET
    ledgerable_id: LedgerableText | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    expires_at: TimeText | UnsetType | None = UNSET
    ledger_account_category_balance_locks: CategoryLocks | UnsetType | None = UNSET


class ReversalCreate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The reversal of a posted transaction; posted, and effective when the original was, unless it says otherwise."""

    example: ClassVar = {"description": "Paid in twice"}

    status: StatusText | None = None
    description: Description | None = None
    effective_at: TimeText | None = None
    external_id: ExternalId | None = None
    ledgerable_type: LedgerableText | None = None
    ledgerable_id: LedgerableText | None = None
    metadata: Metadata | None = None


class PartialPostCreate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a hold to post: for each of its entries one of a lesser amount, on the same account and side."""

    example: ClassVar = {
        "posted_ledger_entries": [
            {"ledger_account_id": "65a1b2c3-0000-8000-8400-000000000800", "direction": "debit", "amount": 40_000},
            {"ledger_account_id": "65a1b2c3-0000-8000-8400-000000000c00", "direction": "credit", "amount": 40_000},
        ],
    }

    posted_ledger_entries: PartList
    description: Description | None = None
    effective_at: TimeText | None = None
    metadata: Metadata | None = None


_COMPARISONS: Final = ("gt", "gte", "eq", "not_eq", "lte", "lt")


def _guards(locks: Locks, parameter: str) -> tuple[Guard, ...]:
    guards = []
    for name, lock in (
        ("pending", locks.pending_balance_amount),
        ("posted", locks.posted_balance_amount),
        ("available", locks.available_balance_amount),
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


def _amount(entry: EntryPart, parameter: str) -> int:
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


def _leg(entry: EntryPart, parameter: str) -> tuple[Leg, Id]:
    id_ = parse_object_id(entry.ledger_account_id, "ledger_account", f"{parameter}.ledger_account_id")
    if entry.lock_version is not None and not 0 <= entry.lock_version <= LOCK_VERSION_MAX:
        raise ParameterInvalid(parameter=f"{parameter}.lock_version", reason="is no lock version")
    leg = Leg(
        id_.sequence,
        entry.ledger_account_id.lower(),  # which is how we write it
        entry.direction,
        _amount(entry, parameter),
        entry.lock_version,
        _guards(entry, parameter),
        parse_time(entry.effective_at, f"{parameter}.effective_at")
        if isinstance(entry, EntryCreate) and entry.effective_at is not None
        else None,
        new_metadata(entry.metadata, f"{parameter}.metadata"),
    )
    return leg, id_


async def read_legs(
    request: Request, entries: Sequence[EntryPart], expected: Id | None = None, field: str = "ledger_entries"
) -> tuple[list[Leg], Id]:
    """Return the legs, and an account's id for the ledger they name; `expected` is an id of the ledger it must be.

    `field` is where the entries stand in the body.

    Raises:
        TooManyEntries.
        ObjectNotFound: an account that can't be, or is of a ledger that the caller doesn't have.
        MixedLedgers: accounts of several ledgers.
    """
    if len(entries) > ENTRIES_MAX:
        raise TooManyEntries(parameter=field, count=len(entries), count_max=ENTRIES_MAX)
    read = [_leg(entry, f"{field}[{position}]") for position, entry in enumerate(entries)]
    legs, ids = [leg for leg, _ in read], [id_ for _, id_ in read]
    owned = {ledger for ledger in {id_.ledger for id_ in ids} if await request.scope.sees(ledger)}
    for position, id_ in enumerate(ids):
        if id_.ledger not in owned:
            raise ObjectNotFound(
                object="ledger_account", id=str(id_), parameter=f"{field}[{position}].ledger_account_id"
            )
    numbers = {id_.ledger for id_ in ids} | ({expected.ledger} if expected else set())
    if len(numbers) > 1:
        raise MixedLedgers(parameter=field, ledger_ids=[request.scope.ledger_id(number) for number in sorted(numbers)])
    return legs, ids[0]


def read_effective_at(time: str | None, date_: str | None = None) -> datetime | None:
    """Return when a transaction counts: the time, else the beginning of the day in UTC, else None.

    Raises:
        ParameterInvalid: it is no such time or day.
    """
    if time is not None:
        return parse_time(time, "effective_at")
    if date_ is not None:
        return parse_time(f"{parse_date(date_, 'effective_date')}T00:00:00Z", "effective_date")
    return None


def read_category_guards(locks: Sequence[CategoryBalanceLock] | None, ledger: Id) -> tuple[CategoryGuards, ...]:
    """Return the locks on categories, which must be of the ledger that this id names.

    Raises:
        ParameterInvalid: too many.
        ObjectNotFound: a category that can't be, or is of another ledger.
    """
    field = "ledger_account_category_balance_locks"
    if locks is not None and len(locks) > CATEGORY_LOCKS_MAX:
        raise ParameterInvalid(parameter=field, reason=f"holds more than {CATEGORY_LOCKS_MAX} locks")
    read = []
    for position, lock in enumerate(locks or ()):
        where = f"{field}[{position}]"
        kind, text = "ledger_account_category", lock.ledger_account_category_id
        id_ = parse_object_id(text, kind, f"{where}.ledger_account_category_id")
        if id_.ledger != ledger.ledger:
            raise ObjectNotFound(object=kind, id=text, parameter=f"{where}.ledger_account_category_id")
        read.append(CategoryGuards(id_.sequence, str(id_), _guards(lock, where)))
    return tuple(read)


def _expires_at(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text, "expires_at")


async def read_create(request: Request, body: TransactionCreate) -> tuple[Draft, Id]:
    """Return the draft of a transaction to create, and an id of its ledger.

    Raises:
        TooFewEntries, ParameterInvalid, and what `read_legs` and `read_category_guards` raise.
    """
    if not body.ledger_entries:
        raise TooFewEntries(parameter="ledger_entries")
    if body.effective_at is not None and body.effective_date is not None:
        raise ParameterInvalid(parameter="effective_date", reason="and effective_at are given; one is enough")
    legs, account = await read_legs(request, body.ledger_entries)
    draft = Draft(
        legs,
        body.status or "pending",
        body.description,
        body.external_id,
        read_effective_at(body.effective_at, body.effective_date),
        body.ledgerable_type,
        body.ledgerable_id,
        new_metadata(body.metadata),
        _expires_at(body.expires_at),
        read_category_guards(body.ledger_account_category_balance_locks, account),
        bool(body.archive_on_balance_lock_failure),
    )
    return draft, account


def _given(value: T | UnsetType) -> T | Unchanged:
    return UNCHANGED if isinstance(value, UnsetType) else value


async def read_update(request: Request, body: TransactionUpdate, target: Id) -> Revision:
    """Return what is to change of a transaction.

    Raises:
        What `read_legs` and `read_category_guards` raise.
    """
    check_metadata(body.metadata or {})
    effective_at = UNCHANGED if body.effective_at is UNSET else parse_time(body.effective_at, "effective_at")
    expires_at = UNCHANGED if body.expires_at is UNSET else _expires_at(body.expires_at)
    legs: Sequence[Leg] | Unchanged = UNCHANGED
    if body.ledger_entries is not UNSET:
        legs = (await read_legs(request, body.ledger_entries, target))[0] if body.ledger_entries else []
    locks = body.ledger_account_category_balance_locks
    return Revision(
        status=_given(body.status),
        legs=legs,
        effective_at=effective_at,
        category_guards=read_category_guards(locks, target) if locks else UNCHANGED,
        metadata=_given(body.metadata),
        external_id=_given(body.external_id),
        description=_given(body.description),
        ledgerable_type=_given(body.ledgerable_type),
        ledgerable_id=_given(body.ledgerable_id),
        expires_at=expires_at,
    )
