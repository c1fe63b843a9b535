"""The tree over a log as it is read: every node, of whatever level, is the one over the records below it."""

import random
from collections.abc import AsyncIterator
from functools import partial
from uuid import uuid4

import asyncpg
import pytest

from doppia.proof.tree import Frontier, Node, inclusion_proof, leaf_hash, nodes_of, root_of, verify_inclusion
from doppia.store.database.connections import session_settings
from doppia.store.log import log
from tests.servers import Server

pytestmark = pytest.mark.anyio

LEDGER = 7
RECORDS = (1 << 16) + 1000
LEAVES = [leaf_hash(str(sequence).encode()) for sequence in range(1, RECORDS + 1)]


@pytest.fixture(scope="module")
async def connection(postgres: Server) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database with one log, which the tests of this module share."""
    name = f"t{uuid4().hex}"
    server = await asyncpg.connect(postgres.url)
    await server.execute(f"create database {name} template template_doppia")
    opened = await asyncpg.connect(postgres.of(name), server_settings=session_settings())
    await opened.execute("set session_replication_role = replica")
    await opened.execute(
        "insert into log (ledger_id, sequence, object_sequence, recorded_at, kind, event, payload) "
        f"select {LEDGER}, n, n, now(), 3, 1, n::text::bytea from generate_series(1, {RECORDS}) n"
    )
    _, kept = Frontier().extended(LEAVES)
    await opened.copy_records_to_table(
        "log_nodes", records=[(LEDGER, *node) for node in kept], columns=("ledger_id", *Node._fields)
    )
    yield opened
    await opened.close()
    await server.execute(f"drop database {name} with (force)")
    await server.close()


async def test_a_node_of_each_level_is_found(connection: asyncpg.Connection) -> None:
    chosen = random.Random(7)
    wanted = [(level, chosen.randrange(RECORDS >> level)) for level in range(17) for _ in range(4)]

    found = await log.nodes(connection, LEDGER, wanted)

    assert found == {(level, place): root_of(LEAVES[place << level : (place + 1) << level]) for level, place in wanted}


def _read(found: dict[tuple[int, int], bytes], level: int, place: int) -> bytes:
    return found[level, place]


@pytest.mark.parametrize("size", [1, 255, 256, 257, 65_535, 65_536, 65_537, RECORDS])
async def test_a_record_of_a_long_log_is_proved_to_be_in_it(connection: asyncpg.Connection, size: int) -> None:
    root = root_of(LEAVES[:size])
    for index in {0, size // 3, size - 1}:
        wanted = nodes_of(partial(inclusion_proof, index, size))
        found = await log.nodes(connection, LEDGER, wanted)
        proof = inclusion_proof(index, size, partial(_read, found))
        assert verify_inclusion(LEAVES[index], index, size, proof, root)


async def test_a_page_of_records_ends_where_it_gets_too_large(connection: asyncpg.Connection) -> None:
    async def sequences(after: int, limit: int, bytes_max: int) -> list[int]:
        return [sequence for sequence, *_ in await log.records(connection, LEDGER, after, limit, bytes_max)]

    assert await sequences(10_000, 3, 1000) == [10_001, 10_002, 10_003]
    assert await sequences(10_000, 3, 5) == [10_001, 10_002]
    assert await sequences(10_000, 3, 4) == [10_001]
    assert await sequences(RECORDS, 3, 1000) == []
