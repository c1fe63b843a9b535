"""Balances: the four sums an account keeps, and the three balances they answer.

Of the entries that are not discarded, pc and pd are the credits and debits of posted ones, nc and nd of pending ones:

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
    """What an account has been credited and debited with, in minor units, each sum >= 0.

    `pending_credits` and `pending_debits` are of pending entries alone; the pending *balance*
    holds the posted ones too.
    """

    posted_credits: int
    posted_debits: int
    pending_credits: int
    pending_debits: int


NOTHING = Sums(0, 0, 0, 0)


class Balance(NamedTuple):
    """One balance of an account. `amount` is signed: positive on the account's normal side."""

    credits: int
    debits: int
    amount: int


def balance(name: BalanceName, sums: Sums, normal_balance: Direction) -> Balance:
    """Return the balance of that name."""
    credit_total, debit_total = sums.posted_credits, sums.posted_debits
    credit_normal = normal_balance == "credit"
    if name == "pending" or (name == "available" and not credit_normal):
        credit_total += sums.pending_credits
    if name == "pending" or (name == "available" and credit_normal):
        debit_total += sums.pending_debits
    amount = credit_total - debit_total
    return Balance(credit_total, debit_total, amount if credit_normal else -amount)
