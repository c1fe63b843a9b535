"""The baseline of posting: bare COPY of rows that the service has written, into tables of the same form."""

import io
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import asyncpg

TABLES = {
    "log": "sequence >= $2 and sequence < $3",
    "transactions": "transaction_sequence >= $2 and transaction_sequence < $3",
    "entries": "entry >= $2::bigint << 10 and entry < $3::bigint << 10",
    "idempotency_keys": "sequence >= $2 and sequence < $3 and kept is null",
}
"""Tables that posting fills, and which rows of each belong to log records $2 and later ones before $3.

A key that has an answer is a batch's, and left out: the baseline is of the transactions alone.
"""


class Copied(NamedTuple):
    """What COPY did.

    Attributes:
        per_second: transactions written from Python's values, as by a program that imports them with the driver.
        encoded_per_second: the same where all bytes were ready before: what the database alone can do.
        bytes_each: on disk per transaction, with indexes, by table.
    """

    per_second: int
    encoded_per_second: int
    bytes_each: dict[str, int]


async def copy_again(url: str, ledger: int, *, transactions: int, at_once: int) -> Copied:
    """Write a ledger's newest log records once more by COPY, with their transactions, entries and idempotency keys.

    The new tables have the same columns, indexes and checks, and neither triggers nor foreign keys. The rows are read
    into memory before the clock starts.

    Args:
        url: of the database.
        ledger: its number.
        transactions: how many of the newest records; it should have as many that created one.
        at_once: how many are written in one database transaction.
    """
    connection = await asyncpg.connect(url)
    end = 1 + await connection.fetchval("select sequence from doppia.ledger_heads where ledger_id = $1", ledger)
    encoded: list[dict[str, bytes]] = []
    decoded: list[dict[str, list[asyncpg.Record]]] = []
    for first in range(end - transactions, end, at_once):
        encoded.append({})
        decoded.append({})
        for table, condition in TABLES.items():
            query = f"select * from doppia.{table} where ledger_id = $1 and {condition}"
            rows = io.BytesIO()
            await connection.copy_from_query(query, ledger, first, first + at_once, output=rows, format="binary")
            encoded[-1][table] = rows.getvalue()
            decoded[-1][table] = await connection.fetch(query, ledger, first, first + at_once)

    async def copy_values(table: str, rows: Any) -> None:
        await connection.copy_records_to_table(table, schema_name="copied", records=rows)

    async def copy_bytes(table: str, rows: Any) -> None:
        await connection.copy_to_table(table, schema_name="copied", source=io.BytesIO(rows), format="binary")

    rates = [await _rate(connection, *each) for each in ((encoded, copy_bytes), (decoded, copy_values))]
    count = await connection.fetchval("select count(*) from copied.transactions")
    sizes = await table_bytes(connection, "copied")
    await connection.execute("drop schema copied cascade")
    await connection.close()
    return Copied(rates[1], rates[0], {table: size // count for table, size in sizes.items()})


async def _rate(
    connection: asyncpg.Connection, groups: Sequence[dict[str, Any]], copy: Callable[[str, Any], Awaitable[None]]
) -> int:
    """Fill fresh tables; return how many transactions were written per second."""
    await connection.execute("drop schema if exists copied cascade; create schema copied")
    for table in TABLES:
        await connection.execute(f"create table copied.{table} (like doppia.{table} including all)")
    await connection.execute("checkpoint")
    began = time.monotonic()
    for group in groups:
        async with connection.transaction():
            for table, rows in group.items():
                await copy(table, rows)
    seconds = time.monotonic() - began
    count: int = await connection.fetchval("select count(*) from copied.transactions")
    return round(count / seconds)


async def table_bytes(connection: asyncpg.Connection, schema: str) -> dict[str, int]:
    """Return the size on disk of each table that posting fills, with its indexes."""
    return {
        table: await connection.fetchval("select pg_total_relation_size($1::text::regclass)", f"{schema}.{table}")
        for table in TABLES
    }
