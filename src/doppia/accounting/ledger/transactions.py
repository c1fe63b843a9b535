"""What a transaction does to its accounts, or why it is refused. START READING HERE.

`decide` is the rule of double entry, and all of it: no I/O, no clock, no randomness. What may happen to a transaction
in its life stands in `transaction_life`, which asks `decide` about its entries.

Entries are append-only. Changing the status, entries or time of a pending transaction discards its entries and writes
new ones. An account's `lock_version` grows by one for each entry written on it, and for each entry discarded on it that
no new entry of the same change succeeds; a discarded entry's successor is the next new one on the same account.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple, assert_never

from doppia.accounting.errors import (
    AccountDiscarded,
    AmountOutOfRange,
    BalanceLockFailed,
    LockVersionMismatch,
    ObjectNotFound,
    OneSided,
    TooFewEntries,
    TooManyEntries,
    Unbalanced,
)
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import BalanceName, Direction, Sums, balance
from doppia.accounting.money import AMOUNT_MAX, Currency

ENTRIES_MAX: Final = 1000

Status = Literal["pending", "posted", "archived"]
Comparison = Literal["gt", "gte", "eq", "not_eq", "lte", "lt"]


class Guard(NamedTuple):
    """A balance lock: the balance of this name, after the whole transaction, must compare so with the bound."""

    balance: BalanceName
    comparison: Comparison
    bound: int


class Leg(NamedTuple):
    """An entry asked for.

    Attributes:
        account: its sequence.
        account_id: as the caller wrote it, for the answer when there is no such account.
        amount: minor units, 0 to 10^36.
        lock_version: what the account's must be before the transaction; None asks nothing.
        effective_at: None takes the transaction's.
    """

    account: int
    account_id: str
    direction: Direction
    amount: int
    lock_version: int | None = None
    guards: tuple[Guard, ...] = ()
    effective_at: datetime | None = None
    metadata: Mapping[str, str] | None = None


class Entry(NamedTuple):
    """An entry as it was written; it never changes.

    Attributes:
        sequence: of the log record that wrote it.
        ordinal: its place among the entries of that record, from 1.
        account: the account as it stands with this entry; `lock_version` and `sums` are those after it. Of an entry
            written as archived, they are the account's as it was, for such an entry changes nothing.
        status: of the transaction when the entry was written.
        updated_at: when its metadata was last replaced or it was discarded.
    """

    sequence: int
    ordinal: int
    account: Account
    direction: Direction
    amount: int
    status: Status
    effective_at: datetime
    metadata: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    discarded_at: datetime | None = None


class Discard(NamedTuple):
    """The end of a pending entry.

    Attributes:
        account: the account as it stands with the discard, where no new entry succeeds the discarded one; else as it
            stands with the successor, which takes the discard into its sums.
        has_successor: whether a new entry of the same change took its place.
    """

    entry: Entry
    account: Account
    has_successor: bool


class Posting(NamedTuple):
    """What a change does.

    Attributes:
        accounts: those that change, by sequence, as they stand afterwards.
        steps: for each leg in order, its account as it stands with that entry.
        discards: for each discarded entry in order.
    """

    accounts: dict[int, Account]
    steps: list[Account]
    discards: list[Discard]


class CategoryLock(NamedTuple):
    """A balance lock on a category: all its guards hold for its balances after the whole transaction.

    `category` is its sequence, `category_id` its id as the caller wrote it.
    """

    category: int
    category_id: str
    guards: tuple[Guard, ...]


class Draft(NamedTuple):
    """A transaction asked for.

    Attributes:
        effective_at: None means the time it is recorded.
        expires_at: when a pending one is archived unless it was resolved before; None means never.
        archives_on_lock_failure: whether it is recorded as archived, rather than refused, when a balance lock fails.
    """

    legs: Sequence[Leg]
    status: Status = "pending"
    description: str | None = None
    external_id: str | None = None
    effective_at: datetime | None = None
    ledgerable_type: str | None = None
    ledgerable_id: str | None = None
    metadata: Mapping[str, str] = {}
    expires_at: datetime | None = None
    category_locks: tuple[CategoryLock, ...] = ()
    archives_on_lock_failure: bool = False


class Transaction(NamedTuple):
    """A transaction at one of its versions.

    Attributes:
        id: as the wire shows it.
        sequence: of the log record that created it; unique in its ledger.
        version: counts its changes, from 0.
        entries: those in force; of an archived transaction, those it had last.
        expires_at: when the service archives it if it is still pending.
        reverses, reversed_by, partially_posts: sequence and id of transactions; `reversed_by` is the reversal that is
            not archived, `partially_posts` the hold that this one took a part of.
        settlement: sequence and id of the settlement whose amount it moves.
    """

    id: str
    sequence: int
    version: int
    status: Status
    entries: tuple[Entry, ...]
    description: str | None
    external_id: str | None
    effective_at: datetime
    posted_at: datetime | None
    created_at: datetime
    updated_at: datetime
    metadata: Mapping[str, str]
    ledgerable_type: str | None = None
    ledgerable_id: str | None = None
    archived_reason: str | None = None
    reverses: tuple[int, str] | None = None
    reversed_by: tuple[int, str] | None = None
    expires_at: datetime | None = None
    partially_posts: tuple[int, str] | None = None
    settlement: tuple[int, str] | None = None


class Change(NamedTuple):
    """An accepted change: the transaction as it now is, and what it did to accounts.

    Attributes:
        wrote_entries: whether this change wrote the transaction's entries, rather than keeping those it had.
    """

    transaction: Transaction
    accounts: Mapping[int, Account]
    discards: Sequence[Discard]
    wrote_entries: bool


def decide(
    status: Status, legs: Sequence[Leg], accounts: Mapping[int, Account], discarded: Sequence[Entry] = ()
) -> Posting:
    """Say what `legs` in this status do to `accounts`, in place of the pending entries `discarded`.

    Guards are tested on the balances after the whole change, against all time; a leg's lock_version on the account
    before it. Entries written as archived change no account.

    Args:
        status: that the entries will have.
        legs: the entries asked for, in order.
        accounts: every account named, by sequence; a missing one does not exist.
        discarded: pending entries in force that the change ends, in order.

    Raises, the first that holds, in this order:
        TooFewEntries, TooManyEntries, AmountOutOfRange, OneSided, ObjectNotFound, AccountDiscarded, Unbalanced,
        LockVersionMismatch, BalanceLockFailed.
    """
    _check_shape(legs)
    _check_accounts(legs, accounts)
    _check_balanced(legs, accounts)
    _check_lock_versions(legs, accounts)
    if status == "archived":
        assert not discarded, "an archive ends entries without new ones"
        return Posting({}, [accounts[leg.account] for leg in legs], [])
    posting = _apply(status, legs, accounts, discarded)
    _check_guards(legs, posting.accounts)
    return posting


def _check_lock_versions(legs: Sequence[Leg], accounts: Mapping[int, Account]) -> None:
    for position, leg in enumerate(legs):
        account = accounts[leg.account]
        if leg.lock_version is not None and leg.lock_version != account.lock_version:
            raise LockVersionMismatch(
                parameter=f"ledger_entries[{position}].lock_version",
                ledger_account_id=account.id,
                lock_version=account.lock_version,
                lock_version_expected=leg.lock_version,
            )


def _check_shape(legs: Sequence[Leg]) -> None:
    if not legs:
        raise TooFewEntries(parameter="ledger_entries")
    if len(legs) > ENTRIES_MAX:
        raise TooManyEntries(count=len(legs), count_max=ENTRIES_MAX)
    sides = set()
    for position, leg in enumerate(legs):
        if not 0 <= leg.amount <= AMOUNT_MAX:
            raise AmountOutOfRange(parameter=f"ledger_entries[{position}].amount", amount=leg.amount)
        sides.add(leg.direction)
    if len(sides) == 1:
        raise OneSided(missing="debit" if "credit" in sides else "credit")


def _check_accounts(legs: Sequence[Leg], accounts: Mapping[int, Account]) -> None:
    for position, leg in enumerate(legs):
        account = accounts.get(leg.account)
        if account is None or account.id != leg.account_id:
            where = f"ledger_entries[{position}].ledger_account_id"
            raise ObjectNotFound(object="ledger_account", id=leg.account_id, parameter=where)
    for position, leg in enumerate(legs):
        if not accounts[leg.account].is_open:
            where = f"ledger_entries[{position}].ledger_account_id"
            raise AccountDiscarded(ledger_account_id=leg.account_id, parameter=where)


def _check_balanced(legs: Sequence[Leg], accounts: Mapping[int, Account]) -> None:
    totals: dict[Currency, list[int]] = {}
    for leg in legs:
        total = totals.setdefault(accounts[leg.account].currency, [0, 0])
        total[leg.direction == "credit"] += leg.amount
    for unit, (debits, credits_) in totals.items():
        if debits != credits_:
            raise Unbalanced(currency=unit.code, currency_exponent=unit.exponent, debits=debits, credits=credits_)


def _apply(status: Status, legs: Sequence[Leg], accounts: Mapping[int, Account], discarded: Sequence[Entry]) -> Posting:
    ending: defaultdict[int, list[Entry]] = defaultdict(list)
    for entry in discarded:
        ending[entry.account.sequence].append(entry)
    after: dict[int, Account] = {}
    steps = []
    discards: dict[int, Discard] = {}
    for leg in legs:
        before = after.get(leg.account) or accounts[leg.account]
        sums = before.sums
        successor_of = ending[leg.account].pop(0) if ending.get(leg.account) else None
        if successor_of is not None:
            sums = _without(sums, successor_of)
        step = before._replace(lock_version=before.lock_version + 1, sums=_with(sums, status, leg))
        after[leg.account] = step
        steps.append(step)
        if successor_of is not None:
            discards[successor_of.ordinal] = Discard(successor_of, step, has_successor=True)
    unsucceeded = [entry for entries in ending.values() for entry in entries]
    rest = end(unsucceeded, {**accounts, **after}) if unsucceeded else Posting({}, [], [])
    discards |= {discard.entry.ordinal: discard for discard in rest.discards}
    return Posting(after | rest.accounts, steps, [discards[entry.ordinal] for entry in discarded])


def end(discarded: Sequence[Entry], accounts: Mapping[int, Account]) -> Posting:
    """End pending entries that nothing succeeds: each is a step of its account."""
    after: dict[int, Account] = {}
    discards = []
    for entry in discarded:
        before = after.get(entry.account.sequence) or accounts[entry.account.sequence]
        step = before._replace(lock_version=before.lock_version + 1, sums=_without(before.sums, entry))
        after[step.sequence] = step
        discards.append(Discard(entry, step, has_successor=False))
    return Posting(after, [], discards)


def _with(sums: Sums, status: Status, leg: Leg) -> Sums:
    posted_credits, posted_debits, pending_credits, pending_debits = sums
    if status == "posted":
        if leg.direction == "credit":
            posted_credits += leg.amount
        else:
            posted_debits += leg.amount
    elif leg.direction == "credit":
        pending_credits += leg.amount
    else:
        pending_debits += leg.amount
    return Sums(posted_credits, posted_debits, pending_credits, pending_debits)


def _without(sums: Sums, pending: Entry) -> Sums:
    if pending.direction == "credit":
        return sums._replace(pending_credits=sums.pending_credits - pending.amount)
    return sums._replace(pending_debits=sums.pending_debits - pending.amount)


def _check_guards(legs: Sequence[Leg], accounts: Mapping[int, Account]) -> None:
    for position, leg in enumerate(legs):
        for guard in leg.guards:
            account = accounts[leg.account]
            amount = balance(guard.balance, account.sums, account.normal_balance).amount
            if not holds(amount, guard.comparison, guard.bound):
                raise BalanceLockFailed(
                    parameter=f"ledger_entries[{position}].{guard.balance}_balance_amount",
                    ledger_account_id=account.id,
                    balance=guard.balance,
                    amount=amount,
                    comparison=guard.comparison,
                    bound=guard.bound,
                )


def holds(amount: int, comparison: Comparison, bound: int) -> bool:
    """Say whether `amount` compares so with `bound`."""
    match comparison:
        case "gt":
            return amount > bound
        case "gte":
            return amount >= bound
        case "eq":
            return amount == bound
        case "not_eq":
            return amount != bound
        case "lte":
            return amount <= bound
        case "lt":
            return amount < bound
        case _:
            assert_never(comparison)
