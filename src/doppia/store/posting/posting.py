"""What a posting group reads, and the one statement that records all it accepted."""

import asyncio
from collections.abc import Iterable
from typing import Final

from doppia.accounting.ids import format_id
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import Sums
from doppia.accounting.money import Currency
from doppia.store.database.connections import Connection, load_queries
from doppia.store.ledger import monitors
from doppia.store.ledger.ledgers import ConsumedKey, Head
from doppia.store.posting.groups import Group, parts
from doppia.store.posting.rows import Piece, numbers

_SQL: Final = load_queries("posting/posting")


async def read_at_once(
    connection: Connection, ledger: int, sequences: Iterable[int], external_ids: Iterable[str], digests: Iterable[bytes]
) -> tuple[Head | None, dict[int, Account], dict[str, tuple[int, str]], dict[bytes, ConsumedKey]]:
    """Return where a log ends, and accounts, external ids and keys as they are at that place, in one snapshot."""
    head = None
    found: dict[int, Account] = {}
    taken: dict[str, tuple[int, str]] = {}
    keys: dict[bytes, ConsumedKey] = {}
    rows = await _SQL["read_at_once"].fetch(
        connection,
        ledger=ledger,
        accounts=numbers(sequences),
        external_ids=list(external_ids),
        digests=list(digests),
    )
    for row in rows:
        kind, sequence, at = row[0], row[1], row[2]
        if kind == "account":
            found[sequence] = Account(
                format_id(int(at.timestamp()), ledger, sequence),
                sequence,
                Currency(row[4], row[5]),
                row[6],
                row[7],
                row[8],
                Sums(row[9], row[10], row[11], row[12]),
                row[13],
                row[14],
            )
        elif kind == "key":
            keys[row[15]] = ConsumedKey(row[15], row[16], sequence, row[17])
        elif kind == "external_id":
            taken[row[4]] = (sequence, format_id(int(at.timestamp()), ledger, sequence))
        else:
            head = Head(sequence, at, row[3], row[15])
    return head, found, taken, keys


async def record(connection: Connection, group: Group) -> None:
    """Record what a group accepted; the ledger's head is locked since the group began."""
    recorded = await record_unless_moved(connection, (part.piece() for part in parts(group)))
    assert recorded, "nobody moves a locked head"


async def record_unless_moved(connection: Connection, pieces: Iterable[Piece]) -> bool:
    """Record the pieces of a group, if the ledger's head is still where the group began; else False, and nothing.

    Each is made while the one before is recorded. Where there are several, a database transaction is under way, in
    which the first locks the head.
    """
    before: asyncio.Task[bool] | None = None
    try:
        for piece in pieces:
            if before is not None and not await before:
                return False
            if piece.is_last:
                return await record_piece(connection, piece)
            before = asyncio.create_task(record_piece(connection, piece))
            await asyncio.sleep(0)  # it is on its way before the next is made
    finally:
        if before is not None:
            await asyncio.wait([before])
    raise AssertionError("a group has a last piece")


async def record_piece(connection: Connection, piece: Piece) -> bool:
    """Record some rows, if the ledger's head is still where they begin; else False, and nothing."""
    rows = piece.rows
    if piece.changes:
        done = await _SQL["record_changes"].execute(connection, **piece.changes)
        assert done == f"UPDATE {len(rows.changed)}", "what changes is there"
    written = await _SQL["record"].fetchval(connection, **piece.additions)
    if written and rows.monitors:
        await monitors.trigger(connection, rows.ledger, rows.monitors, rows.recorded_at)
    return bool(written)
