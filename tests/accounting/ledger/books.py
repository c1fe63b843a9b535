"""Accounts and legs in few words, for the tests of the rules."""

from typing import Any

from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import NOTHING, Direction, Sums
from doppia.accounting.ledger.transactions import Leg
from doppia.accounting.money import Currency

PHP = Currency("PHP", 2)
PTS = Currency("PTS", 0)


def account(
    sequence: int,
    *,
    unit: Currency = PHP,
    normal_balance: Direction = "credit",
    is_open: bool = True,
    lock_version: int = 0,
    sums: Sums = NOTHING,
) -> Account:
    return Account(f"account-{sequence}", sequence, unit, normal_balance, is_open, lock_version, sums)


def chart(*accounts: Account) -> dict[int, Account]:
    return {each.sequence: each for each in accounts}


def debit(sequence: int, amount: int, **more: Any) -> Leg:
    return Leg(sequence, f"account-{sequence}", "debit", amount, **more)


def credit(sequence: int, amount: int, **more: Any) -> Leg:
    return Leg(sequence, f"account-{sequence}", "credit", amount, **more)
