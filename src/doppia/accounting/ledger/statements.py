"""Account statements: a statement says what an account did between two effective times."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import Sums


class Statement(NamedTuple):
    """What an account did between two effective times; a statement never changes.

    Attributes:
        id: the id as the API shows it.
        ledger: the number of the ledger.
        sequence: the sequence of the log record that created the statement.
        account: the account as it was known when the statement was made. `lock_version` is the one that the statement
            is pinned to; `sums` are the sums of the entries effective before `effective_at_upper_bound`.
        starting: the sums of the entries effective before `effective_at_lower_bound`.
    """

    id: str
    ledger: int
    sequence: int
    account: Account
    effective_at_lower_bound: datetime
    effective_at_upper_bound: datetime
    starting: Sums
    description: str | None
    metadata: Mapping[str, str]
    created_at: datetime
