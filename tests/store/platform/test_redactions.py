"""Texts of the log are erased by the owner's function alone, after a record that says so, and never come back."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import msgspec
import pytest

from doppia.proof.kinds import NUMBERS
from doppia.store.database.connections import ConstraintViolatedError, Database
from doppia.store.platform.redactions import erase
from tests.store.log.blank_trees import blank_tree

pytestmark = pytest.mark.anyio

LEDGER, OTHER = 7, 8
ORDINALS = [0, 1, 127, 128, 255, 256, 1000]
BLOCKS = {ordinal: bytes([ordinal % 256]) * (17 + ordinal * 70) for ordinal in ORDINALS}
"""Each form that a number and a length take in MessagePack."""


WHOLE = msgspec.msgpack.encode(BLOCKS)


def encoded(blocks: dict[int, bytes]) -> bytes | None:
    return msgspec.msgpack.encode(blocks) if blocks else None


@pytest.fixture
async def superuser(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database with two logs: in each, record 2 has many texts, 3 has none, and 4 is a redaction."""
    connection = await asyncpg.connect(database_url, server_settings={"search_path": "doppia"})
    await connection.execute("set session_replication_role = replica")
    for ledger in (LEDGER, OTHER):
        await connection.execute(
            f"insert into ledger_heads (ledger_id, sequence, recorded_at, root, frontier) "
            f"values ($1, 4, now(), {blank_tree(4)})",
            ledger,
        )
        for sequence, kind, texts in ((2, 3, WHOLE), (3, 3, None), (4, NUMBERS["redaction"], None)):
            await connection.execute(
                "insert into log values ($1, $2, $2, now(), $3, 1, 'x', $4)", ledger, sequence, kind, texts
            )
    await connection.execute("reset session_replication_role")
    yield connection
    await connection.close()


async def texts_of(connection: asyncpg.Connection, sequence: int = 2, ledger: int = LEDGER) -> bytes | None:
    found: bytes | None = await connection.fetchval(
        "select texts from log where ledger_id = $1 and sequence = $2", ledger, sequence
    )
    return found


@pytest.mark.parametrize(
    "erased",
    [[0], [1000], [127, 256], ORDINALS[:-1], ORDINALS[1:], ORDINALS],
    ids=["the own", "the last", "two", "all but the last", "all but the own", "all"],
)
async def test_the_service_erases_the_blocks_that_are_named_and_no_other(
    superuser: asyncpg.Connection, database: Database, erased: Sequence[int]
) -> None:
    async with database.tx() as connection:
        await erase(connection, LEDGER, [2 << 10 | ordinal for ordinal in erased])
    left = {ordinal: block for ordinal, block in BLOCKS.items() if ordinal not in erased}
    assert await texts_of(superuser) == encoded(left)
    assert await texts_of(superuser, ledger=OTHER) == WHOLE


@pytest.mark.parametrize("count", [2, 15, 16, 17, 40, 1001])
async def test_the_header_of_the_map_is_the_one_of_as_many_blocks_as_are_left(
    superuser: asyncpg.Connection, count: int
) -> None:
    blocks = dict.fromkeys(range(count), b"salt")
    for erased in ([0], [count - 1], [0, count - 1]):
        left = {ordinal: block for ordinal, block in blocks.items() if ordinal not in erased}
        texts = await superuser.fetchval("select texts_without($1, $2::bigint[])", encoded(blocks), erased)
        assert texts == encoded(left)


@pytest.mark.parametrize(
    ("numbers", "constraint"),
    [
        ([2 << 10 | 2], "redactions_erase_texts"),
        ([2 << 10, 2 << 10 | 2], "redactions_erase_texts"),
        ([2 << 10, 2 << 10], "redactions_erase_texts"),
        ([3 << 10], "redactions_erase_texts"),
        ([2 << 10, 9 << 10], "redactions_erase_texts"),
    ],
    ids=["another ordinal", "one that is there and one that is not", "one twice", "a record without", "no record"],
)
async def test_what_is_not_there_can_not_be_erased_and_then_nothing_is(
    superuser: asyncpg.Connection, database: Database, numbers: list[int], constraint: str
) -> None:
    with pytest.raises(ConstraintViolatedError) as refused:
        async with database.tx() as connection:
            await erase(connection, LEDGER, numbers)
    assert refused.value.constraint == constraint
    assert await texts_of(superuser) == WHOLE


async def test_nothing_is_erased_unless_the_log_ends_with_a_redaction(
    superuser: asyncpg.Connection, database: Database
) -> None:
    await superuser.execute("set session_replication_role = replica")
    await superuser.execute("update log set kind = 3 where sequence = 4 and ledger_id = $1", LEDGER)
    await superuser.execute("reset session_replication_role")
    with pytest.raises(ConstraintViolatedError) as refused:
        async with database.tx() as connection:
            await erase(connection, LEDGER, [2 << 10])
    assert refused.value.constraint == "redactions_are_recorded"


CHANGES: dict[str, tuple[str, list[Any]]] = {
    "erased by hand": ("update log set texts = null where sequence = 2", []),
    "a text changed": ("update log set texts = $1 where sequence = 2", [encoded({0: b"another"})]),
    "a text added": ("update log set texts = $1 where sequence = 3", [encoded({0: b"another"})]),
    "a payload changed": ("update log set payload = 'y' where sequence = 2", []),
    "a record removed": ("delete from log where sequence = 2", []),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_nobody_changes_texts_by_another_way(superuser: asyncpg.Connection, change: str) -> None:
    statement, arguments = CHANGES[change]
    with pytest.raises(asyncpg.RestrictViolationError) as refused:
        await superuser.execute(statement, *arguments)
    assert refused.value.constraint_name == "history_is_final"


@pytest.mark.parametrize(
    ("assignment", "texts"),
    [
        ("texts = $1", encoded(BLOCKS | {2: b"more"})),
        ("texts = $1", bytes(len(WHOLE))),
        ("texts = null, payload = $1", b"y"),
    ],
    ids=["more", "as many", "and another payload"],
)
async def test_even_a_redaction_only_makes_texts_less(
    superuser: asyncpg.Connection, assignment: str, texts: bytes
) -> None:
    async with superuser.transaction():
        await superuser.execute("select set_config('doppia.redacted_ledger', '7', true)")
        with pytest.raises(asyncpg.RestrictViolationError):
            async with superuser.transaction():
                await superuser.execute(f"update log set {assignment} where ledger_id = 7 and sequence = 2", texts)
        await superuser.execute("update log set texts = null where ledger_id = 7 and sequence = 2")
        with pytest.raises(asyncpg.RestrictViolationError):
            async with superuser.transaction():
                await superuser.execute("update log set texts = $1 where ledger_id = 7 and sequence = 2", b"\x80")
        with pytest.raises(asyncpg.RestrictViolationError):
            async with superuser.transaction():
                await superuser.execute("update log set texts = null where ledger_id = 8 and sequence = 2")


async def test_after_a_redaction_the_database_transaction_may_erase_no_more(
    superuser: asyncpg.Connection,
) -> None:
    async with superuser.transaction():
        await superuser.execute("select redact_texts(7, array[2048])")
        with pytest.raises(asyncpg.RestrictViolationError):
            async with superuser.transaction():
                await superuser.execute("update log set texts = null where ledger_id = 7 and sequence = 2")
