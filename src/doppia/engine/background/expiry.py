"""Holds that nobody resolved in time: the service archives them once they have passed their `expires_at`."""

import asyncio
from typing import Final

from doppia.accounting.errors import LedgerError
from doppia.engine.performing import Engine
from doppia.engine.posting.commands import ExpireTransaction
from doppia.engine.posting.writing import NOBODY
from doppia.store.ledger import transactions
from doppia.store.ledger.transactions import Due

AT_ONCE_MAX: Final = 1000


async def expire_due(engine: Engine) -> None:
    """Archive every hold that is due, in all ledgers, also those that fell due while no service ran.

    What was resolved meanwhile is left as it is, and what can't be archived now keeps none of the others from it.

    Raises:
        TryAgain: the service can't do it now; what is left is still due.
    """
    last: Due | None = None
    failure: BaseException | None = None
    while True:
        async with engine.database.connection() as connection:
            due = await transactions.due(connection, engine.clock(), last, AT_ONCE_MAX)
        commands = [ExpireTransaction(ledger=found.ledger, target=found.hold) for found in due]
        told = await asyncio.gather(*(engine.perform(NOBODY, command) for command in commands), return_exceptions=True)
        for refusal in told:
            if isinstance(refusal, BaseException) and not isinstance(refusal, LedgerError):
                failure = refusal
        if len(due) < AT_ONCE_MAX:
            break
        last = due[-1]
    if failure is not None:
        raise failure
