"""A payment of three entries in a life of few words, for the tests of the rules."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import Sums
from doppia.accounting.ledger.transaction_life import Revision, create, revise
from doppia.accounting.ledger.transactions import Change, Draft, Leg, Status, Transaction
from tests.accounting.ledger.books import account, chart, credit, debit

MONDAY = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
TUESDAY = MONDAY + timedelta(days=1)
WEDNESDAY = MONDAY + timedelta(days=2)
CASH = account(1, normal_balance="debit")
WALLET = account(2)
FEES = account(3)
BOOKS = chart(CASH, WALLET, FEES)
PAYMENT = (debit(1, 1000), credit(2, 965), credit(3, 35))


def created(status: Status, *legs: Leg, accounts: Mapping[int, Account] = BOOKS, **fields: Any) -> Change:
    draft = Draft(legs or PAYMENT, status, **fields)
    return create(draft, accounts, id_="transaction-10", sequence=10, recorded_at=MONDAY)


def revised(
    change: Change,
    accounts: Mapping[int, Account] = BOOKS,
    *,
    recorded_at: datetime = TUESDAY,
    by_settlement: bool = False,
    **changes: Any,
) -> Change:
    accounts = {**accounts, **change.accounts}
    return revise(
        change.transaction,
        Revision(**changes),
        accounts,
        sequence=11,
        recorded_at=recorded_at,
        by_settlement=by_settlement,
    )


def standing(change: Change) -> dict[int, tuple[int, Sums]]:
    return {sequence: (each.lock_version, each.sums) for sequence, each in change.accounts.items()}


def lines(transaction: Transaction) -> list[tuple[int, int, int, str, int, str]]:
    return [(e.sequence, e.ordinal, e.account.sequence, e.direction, e.amount, e.status) for e in transaction.entries]
