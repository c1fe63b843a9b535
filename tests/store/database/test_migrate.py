"""Bringing a database's schema up to date."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from doppia.accounting.errors import Unavailable
from doppia.store.database.migrate import SchemaError, migrate, migrations
from tests.servers import Server

pytestmark = pytest.mark.anyio


@pytest.fixture
async def empty_url(postgres: Server) -> AsyncIterator[str]:
    name = f"t{uuid4().hex}"
    connection = await asyncpg.connect(postgres.url)
    await connection.execute(f"create database {name}")
    yield postgres.of(name)
    await connection.execute(f"drop database {name} with (force)")
    await connection.close()


async def run(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


APPLIED = "select array_agg(row(m.*)::text order by number) from doppia.migrations m"


async def test_a_second_migration_changes_nothing(empty_url: str) -> None:
    await migrate(empty_url)
    before = await run(empty_url, APPLIED)
    await migrate(empty_url)
    assert await run(empty_url, APPLIED) == before


async def test_two_processes_that_migrate_at_once_apply_each_migration_once(empty_url: str) -> None:
    await asyncio.gather(*(migrate(empty_url) for _ in range(4)))
    assert await run(empty_url, "select count(*) from doppia.migrations") == len(migrations())


async def test_migrations_are_numbered_from_one_without_gaps() -> None:
    assert [number for number, _, _ in migrations()] == list(range(1, len(migrations()) + 1))


async def test_a_migration_that_was_changed_since_it_was_applied_is_refused_by_name(empty_url: str) -> None:
    await migrate(empty_url)
    await run(empty_url, "update doppia.migrations set sha256 = 'another' where number = 1")
    with pytest.raises(SchemaError, match=r"^Migration 0001_core\.sql was applied to this database with another text"):
        await migrate(empty_url)


async def test_a_database_of_a_newer_program_is_refused(empty_url: str) -> None:
    await migrate(empty_url)
    await run(empty_url, "insert into doppia.migrations (number, name, sha256) values (9999, '9999_later.sql', '')")
    with pytest.raises(SchemaError, match=r"has migration 9999, which this program does not know.*newer version"):
        await migrate(empty_url)


async def test_a_migration_that_fails_leaves_nothing_and_can_be_tried_again(empty_url: str) -> None:
    await run(empty_url, "create schema doppia")
    await run(empty_url, "create table doppia.log (occupied text)")
    with pytest.raises(asyncpg.DuplicateTableError):
        await migrate(empty_url)
    assert await run(empty_url, "select count(*) from pg_tables where schemaname = 'doppia'") == 2
    await run(empty_url, "drop table doppia.log")
    await migrate(empty_url)
    assert await run(empty_url, "select count(*) from doppia.migrations") == len(migrations())


async def test_a_database_out_of_reach_is_said_to_be_so(postgres: Server) -> None:
    with pytest.raises(Unavailable):
        await migrate(postgres.url.replace("host=", "host=/nowhere"))
