"""Expiry: the service archives holds that nobody resolved before their `expires_at`."""

import asyncio
from typing import Final

from doppia.accounting.errors import LedgerError
from doppia.engine.performing import Engine
from doppia.engine.posting.commands import ExpireTransaction
from doppia.engine.posting.writing import NOBODY
from doppia.store.ledger import transactions
from doppia.store.ledger.transactions import Due

AT_ONCE_MAX: Final = 1000
"""At most this many holds are read and archived at once."""


async def expire_due(engine: Engine) -> None:
    """Archive every hold that is due, in all ledgers. Holds that became due while no service ran are among them.

    A hold that somebody resolves meanwhile is left as it is. One that can't be archived now does not stop the others.

    Raises:
        TryAgain: the service can't do it now; the holds that are left are still due.
    """
    last: Due | None = None
    failure: BaseException | None = None
    while True:
        async with engine.database.connection() as connection:
            due = await transactions.due(connection, engine.clock(), last, AT_ONCE_MAX)
        commands = [ExpireTransaction(ledger=found.ledger, target=found.hold) for found in due]
        performed = (engine.perform(NOBODY, command) for command in commands)
        for outcome in await asyncio.gather(*performed, return_exceptions=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, LedgerError):
                failure = outcome
        if len(due) < AT_ONCE_MAX:
            break
        last = due[-1]
    if failure is not None:
        raise failure
