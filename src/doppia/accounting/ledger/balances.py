"""Balances: an account keeps four sums, and three balances are made of them.

Only entries that are not discarded count. pc and pd are the credits and debits of posted entries, nc and nd those of
pending entries:

    balance                    credits    debits     amount, credit-normal      amount, debit-normal
    posted                     pc         pd         pc - pd                    pd - pc
    pending (holds posted)     pc + nc    pd + nd    (pc + nc) - (pd + nd)      (pd + nd) - (pc + nc)
    available, credit-normal   pc         pd + nd    pc - (pd + nd)
    available, debit-normal    pc + nc    pd                                    pd - (pc + nc)
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

Direction = Literal["credit", "debit"]
BalanceName = Literal["pending", "posted", "available"]

OPPOSITE: Final[Mapping[Direction, Direction]] = {"credit": "debit", "debit": "credit"}


class Sums(NamedTuple):
    """What an account has been credited and debited with, in minor units. No sum is below 0.

    `pending_credits` and `pending_debits` are sums of pending entries alone; the pending *balance* counts the posted
    entries too.
    """

    posted_credits: int
    posted_debits: int
    pending_credits: int
    pending_debits: int


NOTHING = Sums(0, 0, 0, 0)
"""These are the sums of an account without entries."""


class Balance(NamedTuple):
    """One balance of an account, in minor units. The amount is positive on the account's normal side."""

    credits: int
    debits: int
    amount: int


def balance(name: BalanceName, sums: Sums, normal_balance: Direction) -> Balance:
    """Return the balance that has this name, of an account with these sums and this normal side."""
    credit_total, debit_total = sums.posted_credits, sums.posted_debits
    credit_normal = normal_balance == "credit"
    if name == "pending" or (name == "available" and not credit_normal):
        credit_total += sums.pending_credits
    if name == "pending" or (name == "available" and credit_normal):
        debit_total += sums.pending_debits
    amount = credit_total - debit_total
    return Balance(credit_total, debit_total, amount if credit_normal else -amount)
