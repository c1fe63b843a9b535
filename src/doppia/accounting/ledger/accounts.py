"""Accounts: the places where value stands, and when an account may be discarded."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from doppia.accounting.errors import AccountNotEmpty
from doppia.accounting.ledger.balances import Direction, Sums, balance
from doppia.accounting.money import Currency


class Account(NamedTuple):
    """An account as the rules see it.

    Attributes:
        id: the id as the API shows it.
        sequence: the sequence of the log record that opened the account; it is unique in the ledger.
        is_open: whether the account takes entries; a discarded one takes none.
        lock_version: the number of the account's last step. It grows by one with each change of the sums.
        category_set: the number of the category set that the account is in; None when it is in no category.
        is_monitored: whether a balance monitor may watch the account. Where it is False, none does.
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
        account: the account as the rules see it.
        ledger: the number of the account's ledger.
        as_of: the account with the lock version and the sums of another time, where a reader asked for these.
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
    """Refuse to discard an account that is not at zero in every balance, or has a pending entry.

    Raises:
        AccountNotEmpty: posted credits and debits differ, or an entry is still pending, even one of amount 0.
    """
    sums = account.sums
    if sums.posted_credits != sums.posted_debits or pending_entries:
        raise AccountNotEmpty(
            posted=balance("posted", sums, account.normal_balance).amount,
            pending_credits=sums.pending_credits,
            pending_debits=sums.pending_debits,
            pending_entries=pending_entries,
        )
