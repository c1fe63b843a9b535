"""Holds that nobody resolved in time: the service archives them once they have passed their `expires_at`."""

import asyncio
from typing import Final

from doppia.accounting.errors import LedgerError
from doppia.accounting.ids import Id
from doppia.engine.posting.commands import Expire
from doppia.engine.posting.lanes import PostingGroups
from doppia.engine.posting.writing import Clock
from doppia.store.database.connections import Database
from doppia.store.ledger import transactions
from doppia.store.ledger.transactions import Due

AT_ONCE_MAX: Final = 1000


async def expire_due(database: Database, clock: Clock, groups: PostingGroups) -> None:
    """Archive every hold that is due, in all ledgers, also those that fell due while no service ran.

    What was resolved meanwhile is left as it is, and what can't be archived now keeps none of the others from it.

    Raises:
        TryAgain: the service can't do it now; what is left is still due.
    """
    last: Due | None = None
    failure: BaseException | None = None
    while True:
        async with database.connection() as connection:
            due = await transactions.due(connection, clock(), last, AT_ONCE_MAX)
        told = await asyncio.gather(*(groups.submit(_command(hold)) for _, hold in due), return_exceptions=True)
        for refusal in told:
            if isinstance(refusal, BaseException) and not isinstance(refusal, LedgerError):
                failure = refusal
        if len(due) < AT_ONCE_MAX:
            break
        last = due[-1]
    if failure is not None:
        raise failure


def _command(hold: Id) -> Expire:
    return Expire(ledger=hold, actor=None, key=None, status=200, render=lambda _: b"", target=hold)
