"""What is read of a ledger to see whether all of it follows from its log, and how its rows are told as lines."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from operator import attrgetter
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg

from doppia.accounting.ids import ORDINAL_BITS
from doppia.proof.kinds import kind_of
from doppia.proof.records import STATUSES, Record, TransactionWritten, moment
from doppia.proof.replay.fold import Ended, WrittenEntry
from doppia.store.database.connections import Connection, Database, load_queries

_SQL: Final = load_queries("log/verification")

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


LEAST: Final = -(2**63)
GREATEST: Final = 2**63 - 1
"""The ends of what the database can number."""

_ROWS_AT_ONCE: Final = 5_000


class UnreadableError(Exception):
    """A row holds a value that can't be read, such as a time that is beyond the calendar."""


class Head(NamedTuple):
    """Where a ledger's log ends, when the ledger was created, in seconds, and whose it is; times are as in lines."""

    ledger: int
    created_seconds: int
    organization: UUID
    sequence: int
    recorded_at: str
    root: bytes
    frontier: bytes


class Chunk(NamedTuple):
    """What a range of records wrote: each list in the order of its first column, None where it is empty."""

    payloads: list[bytes] | None
    record_texts: list[bytes | None] | None
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


async def rows(connection: Connection, query: str, **values: Any) -> list[Any]:
    """Return the rows of one of the named queries.

    Raises:
        UnreadableError: the database transaction is of no more use.
    """
    try:
        found: list[Any] = await _SQL[query].fetch(connection, **values)
    except (asyncpg.DataError, asyncpg.FeatureNotSupportedError, OverflowError, ValueError) as error:
        raise UnreadableError(str(error)) from error
    return found


async def pages(connection: Connection, query: str, ledger: int) -> AsyncIterator[list[Any]]:
    """Yield the rows of a query that gives thousands at a time, in the order of a number that stands first in them.

    Raises:
        UnreadableError.
    """
    begin = LEAST
    while found := await rows(connection, query, ledger=ledger, begin=begin, limit=_ROWS_AT_ONCE):
        yield found
        if found[-1][0] == GREATEST:
            break
        begin = found[-1][0] + 1


async def heads(connection: Connection, ledger: int | None) -> list[Head]:
    """Return where the logs of all ledgers end, or of one."""
    return [Head(*row) for row in await rows(connection, "heads", ledger=ledger)]


async def owners(connection: Connection) -> dict[str, UUID]:
    """Return whose each ledger came to be, by its id, as the log of organizations says."""
    return {row[0]: row[1] for row in await rows(connection, "owners")}


async def chunk(connection: Connection, ledger: int, first: int, last: int) -> Chunk:
    """Return what the records from `first` to `last` wrote; `LEAST` and `GREATEST` stand for all before and after.

    Raises:
        UnreadableError.
    """
    [row] = await rows(
        connection,
        "chunk",
        ledger=ledger,
        first=first,
        last=last,
        first_entry=LEAST if first == LEAST else first << ORDINAL_BITS,
        last_entry=GREATEST if last == GREATEST else (last + 1 << ORDINAL_BITS) - 1,
    )
    return Chunk(*row)


def time(microseconds: int | None) -> str:
    """Return a time as a line has it."""
    if microseconds is None:
        return ""
    return (microseconds - _SERVERS_EPOCH_MICROSECONDS).to_bytes(8, "big", signed=True).hex()


def seconds_of(line: str) -> int:
    """Return the whole seconds since 1970 of a time that `time` could have returned."""
    return _microseconds_of(line) // 1_000_000


def _microseconds_of(line: str) -> int:
    return int.from_bytes(bytes.fromhex(line), "big", signed=True) + _SERVERS_EPOCH_MICROSECONDS


def record_line(record: Record, recorded_at: str) -> str:
    """Return the line of a record's columns."""
    kind = kind_of(record)
    return f"{record.sequence} {kind.about(record)} {recorded_at} {kind.number} {record.event}"


_WAYS: Final = [[f"{direction} {status}" for direction in ("debit", "credit")] for status in STATUSES]


def entry_lines(entries: list[WrittenEntry], recorded: int, recorded_at: str) -> list[str]:
    """Return the lines of the entries of a record; when that was recorded in microseconds, and as a line has it."""
    lines = []
    its_own = f"{recorded_at} {recorded_at}"
    for entry in entries:
        at, sums = entry.effective_at, entry.sums
        times = its_own if at == recorded else f"{recorded_at} {time(at)}"
        way = _WAYS[entry.status][entry.direction]
        if sums is None:
            lines.append(f"{entry.number} {entry.transaction} {entry.account}  {times} {way} {entry.amount}    ")
        else:
            pc, pd, nc, nd = sums
            lines.append(
                f"{entry.number} {entry.transaction} {entry.account} {entry.lock_version} {times} {way} {entry.amount} "
                f"{pc} {pd} {nc} {nd}"
            )
    return lines


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
    others = (record.reverses, record.partially_posts, record.settlement)
    if others == _NO_OTHERS:
        return f"{record.version} {STATUSES[record.status]} t {recorded_at}   "
    told = " ".join(["" if number is None else str(number) for number in others])
    return f"{record.version} {STATUSES[record.status]} t {recorded_at} {told}"


_NO_OTHERS: Final = (None,) * 3


texts_of: Final[Callable[[TransactionWritten], tuple[str | None, ...]]] = attrgetter(*TEXT_COLUMNS[:-1])
"""Returns the texts of a transaction, but for its metadata."""

NO_TEXTS: Final = (None,) * len(TEXT_COLUMNS[:-1])
"""What `texts_of` returns of most."""


def differing(columns: Sequence[str], expected: str, stored: str) -> str:
    """Say in which column two lines of the same row differ first."""
    for column, told, found in zip(columns, expected.split(" "), stored.split(" "), strict=True):
        if told != found:
            show = shown_time if column.endswith("_at") else _shown
            return f"its {column} is {show(found)} in the table, and {show(told)} by the log"
    raise AssertionError("the lines differ")


def _shown(value: str) -> str:
    return value or "nothing"


_OF_TIMES: Final = {"": "nothing", "t": "that of its first record", "f": "another"}


def shown_time(line: str) -> str:
    """Return a time of a line as it is read, or whether it is the time that it must be."""
    try:
        return _OF_TIMES.get(line) or moment(_microseconds_of(line)).isoformat()
    except OverflowError:
        return "beyond the calendar"
