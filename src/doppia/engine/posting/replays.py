"""A repeated idempotency key is answered with the first result. The key kept it, or it is read from the log again."""

from collections.abc import Iterator
from typing import Any, Final

from doppia.accounting.errors import ObjectNotFound
from doppia.accounting.ledger.transactions import Draft, Transaction
from doppia.engine.posting.commands import CreateBatch, TransactionCommand
from doppia.engine.posting.kept import kept, kept_results
from doppia.store.database.connections import Database
from doppia.store.ledger import transactions
from doppia.store.ledger.ledgers import ConsumedKey

ENTRIES_AT_ONCE: Final = 200
"""At most this many entries, and one transaction more, are read at once, so that others have the connection and the
event loop in between."""


async def replay(database: Database, command: TransactionCommand[Any], consumed: ConsumedKey) -> Any:
    """Return the result of the command that consumed the key. It is read without a lock, because records never change.

    Args:
        database: the database to read from.
        command: the repeated command.
        consumed: what is stored of its key.

    Raises:
        ObjectNotFound: the ledger was purged meanwhile.
        Unavailable, Overloaded.
    """
    is_batch = isinstance(command, CreateBatch)
    if consumed.kept is not None:
        return kept_results(consumed.kept) if is_batch else kept(consumed.kept, Transaction)
    ledger = command.ledger.number
    results: list[Transaction] = []
    for sequences in _portions(command, consumed):
        records = [(ledger, sequence) for sequence in sequences]
        async with (
            database.connection() as connection,
            # With one snapshot a ledger that is purged meanwhile is there whole or not at all.
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            recorded = await transactions.as_recorded(connection, records)
        if len(recorded) < len(records):
            raise ObjectNotFound(object="ledger", id=command.ledger.id)
        results += [recorded[record] for record in records]
    return results if is_batch else results[0]


def _portions(command: TransactionCommand[Any], consumed: ConsumedKey) -> Iterator[range]:
    """Yield the sequences of the records that a result is read from: one for each item, the key naming the last."""
    assert consumed.sequence is not None, "a key that kept no result names the record to read it from"
    if not isinstance(command, CreateBatch):
        yield range(consumed.sequence, consumed.sequence + 1)
        return
    first = sequence = consumed.sequence - len(command.items) + 1
    entries = 0
    for sequence, item in enumerate(command.items, first):
        if entries >= ENTRIES_AT_ONCE:
            yield range(first, sequence)
            first, entries = sequence, 0
        entries += len(item.legs) if isinstance(item, Draft) else 0
    yield range(first, sequence + 1)
