"""What a transaction does to its accounts, or why it is refused. START READING HERE.

`decide` is the whole rule of double entry. It does no I/O and needs neither a clock nor randomness. What may happen to
a transaction in its life stands in `transaction_life`, which asks `decide` about the transaction's entries.

Entries are append-only. A change of the status, the entries or the time of a pending transaction discards its entries
and writes new ones. A discarded entry is succeeded by the next new entry of the same change on the same account, if
there is one. An account's `lock_version` grows by one for each entry that is written on it, and for each entry that is
discarded on it without a successor.
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
    """A condition on a balance that must hold after the whole transaction.

    Attributes:
        balance: the name of the balance.
        comparison: how the balance must compare with the bound.
        bound: what the balance is compared with, in minor units, on the account's normal side.
    """

    balance: BalanceName
    comparison: Comparison
    bound: int


class Leg(NamedTuple):
    """An entry that a caller asks for, and that is not decided yet.

    Attributes:
        account: the account's sequence.
        account_id: the account's id as the caller wrote it. An account that has another id is not the one meant.
        amount: the amount in minor units, 0 to 10^36.
        lock_version: the lock version that the account must have before the transaction; None asks for none.
        guards: conditions on the account's balances.
        effective_at: the time at which the entry counts; None takes the transaction's.
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
    """An entry as it was written. Its metadata can be replaced and it can be discarded; nothing else of it changes.

    Attributes:
        sequence: the sequence of the log record that wrote the entry.
        ordinal: the entry's place among the entries of that record, from 1.
        account: the account with the lock version and the sums that it has after this entry. An entry that was written
            as archived changes nothing, so its account is as it was before.
        status: the transaction's status when the entry was written.
        updated_at: when the entry was discarded, or else when its metadata was last replaced.
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
        entry: the discarded entry.
        account: the account after the discard. Where the entry has a successor, both are one step of the account, and
            this is the account after that step.
        has_successor: whether a new entry of the same change takes the discarded one's place.
    """

    entry: Entry
    account: Account
    has_successor: bool


class Effect(NamedTuple):
    """What a change of a transaction does to accounts.

    Attributes:
        accounts: the accounts that change, by sequence, as they stand after the whole change.
        steps: for each leg, in order, its account as it stands right after that entry.
        discards: the end of each discarded entry, in the order of these.
    """

    accounts: dict[int, Account]
    steps: list[Account]
    discards: list[Discard]


class CategoryGuards(NamedTuple):
    """Conditions on the balances of a category, all of which must hold after the whole transaction.

    Attributes:
        category: the category's sequence.
        category_id: the category's id as the caller wrote it. A category that has another id is not the one meant.
    """

    category: int
    category_id: str
    guards: tuple[Guard, ...]


class Draft(NamedTuple):
    """A transaction that a caller asks for, and that is not decided yet.

    Attributes:
        effective_at: the time at which the transaction counts; None means the time at which it is recorded.
        expires_at: the time at which the service archives the transaction if it is still pending; None means never.
        archives_on_failed_guard: whether the transaction is recorded as archived, rather than refused, when a guard
            doesn't hold.
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
    category_guards: tuple[CategoryGuards, ...] = ()
    archives_on_failed_guard: bool = False


class Transaction(NamedTuple):
    """A transaction at one of its versions.

    Attributes:
        id: the id as the API shows it.
        sequence: the sequence of the log record that created the transaction; it is unique in the ledger.
        version: the number of changes so far, from 0.
        entries: the entries in force; an archived transaction has those that it had last.
        expires_at: the time at which the service archives the transaction if it is still pending.
        archived_reason: why a rule archived the transaction; None where its owner did, or nobody.
        reverses: sequence and id of the transaction that this one reverses.
        reversed_by: sequence and id of the reversal of this transaction that is not archived.
        partially_posts: sequence and id of the hold that this transaction took a part of.
        settlement: sequence and id of the settlement whose amount this transaction moves.
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
    """An accepted change of a transaction.

    Attributes:
        transaction: the transaction after the change.
        accounts: the accounts that the change moved, by sequence, as they stand afterwards.
        discards: the end of each entry that the change discarded.
        wrote_entries: whether the change wrote the transaction's entries. If not, the transaction kept those it had.
    """

    transaction: Transaction
    accounts: Mapping[int, Account]
    discards: Sequence[Discard]
    wrote_entries: bool


def decide(
    status: Status, legs: Sequence[Leg], accounts: Mapping[int, Account], discarded: Sequence[Entry] = ()
) -> Effect:
    """Decide what new entries do to accounts, in place of pending entries that end.

    1. The legs are 1 to 1000, their amounts are from 0 to 10^36, and both sides are there.
    2. Every account exists, and none is discarded.
    3. In each currency the debits equal the credits.
    4. Each account has the lock version that its leg asks for, before the change.
    5. Entries written as archived change no account, and their guards are not tested. All others are applied in order,
       and each is one step of its account; then each discarded entry without a successor is a step of its own.
    6. All guards hold for the balances after the whole change, whatever the effective times of entries are.

    Args:
        status: the status that the entries are written with.
        legs: the entries asked for, in order.
        accounts: every account that is named, by sequence; one that is missing here does not exist.
        discarded: the pending entries in force that the change ends, in order.

    Raises, the first that holds, in this order:
        TooFewEntries, TooManyEntries, AmountOutOfRange, OneSided: of step 1.
        ObjectNotFound, AccountDiscarded: of step 2.
        Unbalanced: of step 3.
        LockVersionMismatch: of step 4.
        BalanceLockFailed: of step 6.
    """
    _check_shape(legs)
    _check_accounts(legs, accounts)
    _check_balanced(legs, accounts)
    _check_lock_versions(legs, accounts)
    if status == "archived":
        assert not discarded, "`end` ends entries when a transaction is archived, and writes no new ones"
        return Effect({}, [accounts[leg.account] for leg in legs], [])
    effect = _apply(status, legs, accounts, discarded)
    _check_guards(legs, effect.accounts)
    return effect


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
    for currency, (debits, credits_) in totals.items():
        if debits != credits_:
            raise Unbalanced(
                currency=currency.code, currency_exponent=currency.exponent, debits=debits, credits=credits_
            )


def _apply(status: Status, legs: Sequence[Leg], accounts: Mapping[int, Account], discarded: Sequence[Entry]) -> Effect:
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
    rest = end(unsucceeded, {**accounts, **after}) if unsucceeded else Effect({}, [], [])
    discards |= {discard.entry.ordinal: discard for discard in rest.discards}
    return Effect(after | rest.accounts, steps, [discards[entry.ordinal] for entry in discarded])


def end(discarded: Sequence[Entry], accounts: Mapping[int, Account]) -> Effect:
    """End pending entries that have no successor; each is a step of its account, in order."""
    after: dict[int, Account] = {}
    discards = []
    for entry in discarded:
        before = after.get(entry.account.sequence) or accounts[entry.account.sequence]
        step = before._replace(lock_version=before.lock_version + 1, sums=_without(before.sums, entry))
        after[step.sequence] = step
        discards.append(Discard(entry, step, has_successor=False))
    return Effect(after, [], discards)


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
    """Return whether `amount` compares with `bound` as asked."""
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
