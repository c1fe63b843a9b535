"""Accounts: where value stands, and when one may be discarded."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from doppia.accounting.errors import AccountNotEmpty
from doppia.accounting.ledger.balances import Direction, Sums, balance
from doppia.accounting.money import Currency


class Account(NamedTuple):
    """An account as the rules see it.

    Attributes:
        id: as the wire shows it.
        sequence: position in the ledger's log at which it was opened; unique in its ledger.
        is_open: False once it is discarded.
        lock_version: grows with each change of the sums.
        category_set: what names the categories it is directly in; None when it is in none.
        is_monitored: whether a balance monitor may watch it.
    """

    id: str
    sequence: int
    currency: Currency
    normal_balance: Direction
    is_open: bool
    lock_version: int
    sums: Sums
    category_set: int | None = None
    is_monitored: bool = False


class AccountFields(NamedTuple):
    """An account with all its fields.

    Attributes:
        account: what the rules see of it.
        as_of: the same with the lock version and the balances of another time, where these were asked for.
    """

    account: Account
    ledger: int
    name: str
    description: str | None
    external_id: str | None
    ledgerable_type: str | None
    ledgerable_id: str | None
    metadata: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    discarded_at: datetime | None
    as_of: Account | None = None


def check_discard(account: Account, *, pending_entries: int) -> None:
    """Let an account go only at zero in every balance with nothing pending.

    Raises:
        AccountNotEmpty: posted credits and debits differ, or an entry is still pending, be it of amount 0.
    """
    sums = account.sums
    if sums.posted_credits != sums.posted_debits or pending_entries:
        raise AccountNotEmpty(
            posted=balance("posted", sums, account.normal_balance).amount,
            pending_credits=sums.pending_credits,
            pending_debits=sums.pending_debits,
            pending_entries=pending_entries,
        )
