"""What is read of a ledger to see whether all of it follows from its log, and how its rows are told as lines."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, NamedTuple

from doppia.proof.records import STATUSES, AnyRecord, TransactionWritten
from doppia.proof.replay import Ended, WrittenEntry
from doppia.store.database import Connection, Database, load_queries

_SQL: Final = load_queries("verification")

ENTRY_COLUMNS: Final = (
    "number", "transaction", "account", "lock_version", "created_at", "effective_at", "direction", "status", "amount",
    "posted_credits", "posted_debits", "pending_credits", "pending_debits",
)  # fmt: skip
DISCARD_COLUMNS: Final = (
    "entry", "record", "discarded_at", "account", "lock_version", "posted_credits", "posted_debits", "pending_credits",
    "pending_debits",
)  # fmt: skip
RECORD_COLUMNS: Final = ("sequence", "object_sequence", "recorded_at", "kind", "event")
FINAL_COLUMNS: Final = ("entries_sequence", "posted_at", "effective_at", "expires_at")
NEWEST_COLUMNS: Final = (
    "version", "status", "created_at", "updated_at", "reverses", "partially_posts", "settlement",
)  # fmt: skip
TEXT_COLUMNS: Final = (
    "description", "external_id", "ledgerable_type", "ledgerable_id", "archived_reason", "metadata",
)  # fmt: skip

_SERVERS_EPOCH_MICROSECONDS: Final = 946_684_800_000_000
"""2000-01-01, from which PostgreSQL counts."""


class Head(NamedTuple):
    """Where a ledger's log ends; `created_at` is the ledger's."""

    ledger: int
    created_at: datetime
    sequence: int
    recorded_at: datetime
    discarded_at: datetime | None
    root: bytes
    frontier: bytes


class Chunk(NamedTuple):
    """What a range of records wrote: each list in the order of its first column, None where it is empty."""

    payloads: list[bytes] | None
    records: list[str] | None
    entries: list[str] | None
    discards: list[str] | None
    final: list[str] | None
    newest: list[str | None] | None
    with_texts: list[int] | None
    texts: list[list[str | None]] | None
    with_metadata: list[int] | None
    metadata: list[str] | None
    metadata_times: list[str] | None
    metadata_replaced: list[bool] | None


@asynccontextmanager
async def snapshot(
    database: Database, of: str | None = None, *, of_whole_tables: bool = False
) -> AsyncIterator[Connection]:
    """Lend a connection that sees the database as it is now, or as the snapshot of that name does.

    Where it reads whole tables the planner may do so in one go, and not by their indexes alone.
    """
    async with (
        database.connection() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        if of is not None:
            await connection.execute(f"set transaction snapshot '{of}'")
        for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
            await connection.execute(f"set local {name} = 0")
        if of_whole_tables:
            for name in ("seqscan", "hashjoin", "mergejoin", "material"):
                await connection.execute(f"set local enable_{name} = on")
        yield connection


async def export_snapshot(connection: Connection) -> str:
    """Return the name of a connection's snapshot."""
    name: str = await connection.fetchval("select pg_export_snapshot()")
    return name


async def rows(connection: Connection, query: str, *arguments: Any) -> list[Any]:
    """Return the rows of one of the named queries."""
    found: list[Any] = await connection.fetch(_SQL[query], *arguments)
    return found


async def heads(connection: Connection, ledger: int | None) -> list[Head]:
    """Return where the logs of all ledgers end, or of one."""
    return [Head(*row) for row in await connection.fetch(_SQL["heads"], ledger)]


async def chunk(connection: Connection, ledger: int, begin: int, end: int, ordinals: int) -> Chunk:
    """Return what the records from `begin` to before `end` wrote; each numbers so many entries at most."""
    row = await connection.fetchrow(_SQL["chunk"], ledger, begin, end, begin * ordinals, end * ordinals)
    return Chunk(*row)


def time(microseconds: int | None) -> str:
    """Return a time as a line has it."""
    if microseconds is None:
        return ""
    return (microseconds - _SERVERS_EPOCH_MICROSECONDS).to_bytes(8, "big", signed=True).hex()


def record_line(record: AnyRecord, object_sequence: int, kind: int, recorded_at: str) -> str:
    """Return the line of a record's columns."""
    return f"{record.sequence} {object_sequence} {recorded_at} {kind} {record.event}"


_DIRECTIONS: Final = ("debit", "credit")


def entry_line(entry: WrittenEntry, created_at: str, effective_at: str) -> str:
    """Return the line of an entry; the times as lines have them."""
    number, transaction, account, lock_version, _, direction, status, amount, sums, _ = entry
    begin = f"{number} {transaction} {account}"
    end = f"{created_at} {effective_at} {_DIRECTIONS[direction]} {STATUSES[status]} {amount}"
    if sums is None:
        return f"{begin}  {end}    "
    return f"{begin} {lock_version} {end} {sums[0]} {sums[1]} {sums[2]} {sums[3]}"


def discard_line(ended: Ended, sequence: int, discarded_at: str) -> str:
    """Return the line of an entry's end by a record."""
    pc, pd, nc, nd = ("", "", "", "") if ended.sums is None else ended.sums
    return f"{ended.number} {sequence} {discarded_at} {ended.account} {ended.lock_version} {pc} {pd} {nc} {nd}"


def final_line(record: TransactionWritten, entries_sequence: int, recorded_at: str) -> str:
    """Return the line of what is final once a transaction is, by the record that made it so."""
    posted_at = recorded_at if STATUSES[record.status] == "posted" else ""
    effective_at = recorded_at if record.effective_at is None else time(record.effective_at)
    return f"{entries_sequence} {posted_at} {effective_at} {time(record.expires_at)}"


def newest_line(record: TransactionWritten, recorded_at: str) -> str:
    """Return the line of the other columns of a transaction, by the newest record about it."""
    others = [
        "" if number is None else str(number) for number in (record.reverses, record.partially_posts, record.settlement)
    ]
    return f"{record.version} {STATUSES[record.status]} t {recorded_at} {others[0]} {others[1]} {others[2]}"


def texts_of(record: TransactionWritten) -> list[str | None]:
    """Return the texts of a transaction, but for its metadata."""
    return [
        record.description, record.external_id, record.ledgerable_type, record.ledgerable_id, record.archived_reason,
    ]  # fmt: skip


def differing(columns: Sequence[str], expected: str, stored: str) -> str:
    """Say in which column two lines of the same row differ first."""
    for column, told, found in zip(columns, expected.split(" "), stored.split(" "), strict=True):
        if told != found:
            return f"its {column} is {_shown(found)} in the table, and {_shown(told)} by the log"
    raise AssertionError("the lines differ")


def _shown(value: str) -> str:
    return value or "nothing"
