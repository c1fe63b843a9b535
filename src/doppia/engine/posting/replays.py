"""What a repeated idempotency key is answered with: the first answer, as the key kept it or the log yields it again."""

from collections.abc import Iterator
from typing import Final

from doppia.accounting.errors import ObjectNotFound
from doppia.accounting.ledger.transactions import Draft, Transaction
from doppia.engine.posting.commands import Batch, Command, Single
from doppia.engine.posting.writing import Answer
from doppia.store.database.connections import Database
from doppia.store.ledger import transactions
from doppia.store.ledger.ledgers import ConsumedKey

ENTRIES_AT_ONCE: Final = 200
"""That are read at once, up to a transaction more, so that others have the connection and the event loop in between."""


async def replay(database: Database, command: Command, consumed: ConsumedKey) -> Answer:
    """Return the answer that the key of this command had; records never change, so it is read without a lock.

    Raises:
        ObjectNotFound: the ledger was purged meanwhile.
        Unavailable, Overloaded.
    """
    if consumed.answer is not None:
        return Answer(consumed.status, consumed.answer)
    ledger = command.ledger.ledger
    told: list[Transaction] = []
    for sequences in _portions(command, consumed):
        records = [(ledger, sequence) for sequence in sequences]
        async with (
            database.connection() as connection,
            # Of a ledger that is purged meanwhile, either all is seen or nothing.
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            recorded = await transactions.as_recorded(connection, records)
        if len(recorded) < len(records):
            raise ObjectNotFound(object="ledger", id=str(command.ledger))
        told += [recorded[record] for record in records]
    if isinstance(command, Batch):
        return Answer(consumed.status, await command.render(told))
    assert isinstance(command, Single), "all others are about one transaction"
    return Answer(consumed.status, command.render(told[0]))


def _portions(command: Command, consumed: ConsumedKey) -> Iterator[range]:
    """Return the sequences of the records that yield an answer: one for each item, up to the one that the key names."""
    assert consumed.sequence is not None, "a key without an answer names the record that yields it"
    if not isinstance(command, Batch):
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
