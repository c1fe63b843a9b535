"""Account statements: what an account did between two effective times."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import Sums


class Statement(NamedTuple):
    """What an account did between two effective times; it never changes.

    Attributes:
        account: as it was known when the statement was made: `lock_version` is the one that the statement is pinned
            to, and `sums` are those over the entries effective before `effective_at_upper_bound`.
        starting: the sums over the entries effective before `effective_at_lower_bound`.
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
