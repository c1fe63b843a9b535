"""What the service's role may do, and what it may not, whatever the triggers say."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

import asyncpg
import pytest

from doppia.engine.platform import keys
from doppia.engine.posting.lanes import PostingGroups
from doppia.store.database.connections import ConstraintViolatedError, Database, DatabaseUrlError, may_rewrite_history
from doppia.store.database.migrate import migrate
from tests.engine.bookkeeping import Books, move, now
from tests.engine.closing import sellers
from tests.servers import Server

pytestmark = pytest.mark.anyio

SUMS: Final = "posted_credits posted_debits pending_credits pending_debits"
NAMES: Final = "name description external_id metadata updated_at discarded_at"


class Rights(NamedTuple):
    """What the service may do with a table besides reading it: insert, change these columns, delete."""

    inserts: bool = True
    updates: str = ""
    deletes: bool = False


READ_ONLY: Final = Rights(inserts=False)
HISTORY: Final = Rights()

DECIDED: Final = {
    "account_statements": HISTORY,
    "accounts": Rights(updates=f"{NAMES} ledgerable_type ledgerable_id"),
    "api_keys": Rights(updates="revoked_at"),
    "balance_monitors": Rights(updates="is_triggered description metadata updated_at discarded_at"),
    "balances": Rights(updates=f"lock_version {SUMS} category_set is_monitored"),
    "bulk_requests": Rights(updates="status succeeded failed updated_at"),
    "bulk_results": Rights(updates="status ledger_ids external_id params entity_type entity_id entity updated_at"),
    "categories": Rights(updates=NAMES),
    "category_edges": Rights(deletes=True),
    "category_set_members": READ_ONLY,
    "category_sets": HISTORY,
    "discards": HISTORY,
    "effective_sums": READ_ONLY,
    "entries": HISTORY,
    "entry_metadata": Rights(updates="metadata updated_at"),
    "idempotency_keys": HISTORY,
    "ledger_heads": Rights(updates="sequence recorded_at discarded_at root frontier"),
    "ledgers": Rights(updates="name description metadata updated_at"),
    "log": HISTORY,
    "log_nodes": HISTORY,
    "migrations": READ_ONLY,
    "organization_log": HISTORY,
    "organizations": HISTORY,
    "purged_ledgers": READ_ONLY,
    "settled_accounts": Rights(updates="swept_lock_version"),
    "settled_entries": Rights(deletes=True),
    "settlements": Rights(
        updates="status becomes searched_lock_version skip_transaction transaction_sequence amount direction "
        "description metadata updated_at"
    ),
    "transactions": Rights(
        updates="entries_sequence status version updated_at effective_at posted_at expires_at description external_id "
        "ledgerable_type ledgerable_id archived_reason metadata"
    ),
}


@pytest.fixture
async def service(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the service's role."""
    async with database.connection() as connection:
        yield connection


@pytest.fixture
async def superuser(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url, server_settings={"search_path": "doppia"})
    yield connection
    await connection.close()


async def is_permitted(connection: asyncpg.Connection, statement: str) -> bool:
    """Say whether the database lets this role begin with a statement, whatever triggers would make of it."""
    try:
        await connection.execute(f"explain {statement}")
    except asyncpg.InsufficientPrivilegeError:
        return False
    return True


async def test_every_table_is_decided_upon(superuser: asyncpg.Connection) -> None:
    rows = await superuser.fetch("select relname from pg_class where relkind in ('r', 'p', 'v', 'm', 'S', 'f') "
                                 "and relnamespace = 'doppia'::regnamespace")  # fmt: skip
    assert {row[0] for row in rows} == DECIDED.keys()


@pytest.mark.parametrize("table", DECIDED)
async def test_the_service_inserts_changes_and_deletes_what_is_decided_and_nothing_else(
    service: asyncpg.Connection, table: str
) -> None:
    rights = DECIDED[table]
    rows = await service.fetch(
        "select attname from pg_attribute where attrelid = $1::text::regclass and attnum > 0 and not attisdropped",
        table,
    )
    columns = [row[0] for row in rows]
    changed = [
        column for column in columns if await is_permitted(service, f'update {table} set "{column}" = "{column}"')
    ]
    assert sorted(changed) == sorted(rights.updates.split())
    assert await is_permitted(service, f"delete from {table}") is rights.deletes
    assert await is_permitted(service, f"insert into {table} select * from {table}") is rights.inserts
    assert await is_permitted(service, f"select * from {table}")
    for beyond in (f"truncate {table}", f"truncate {table} cascade", f"alter table {table} disable trigger all",
                   f"alter table {table} add column more text", f"drop table {table} cascade",
                   f"create trigger more before insert on {table} execute function refuse_truncate()",
                   f"create index on {table} ({columns[0]})", f"alter table {table} owner to current_user",
                   f"alter table {table} rename to other"):  # fmt: skip
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await service.execute(beyond)


@pytest.mark.parametrize(
    "statement",
    [
        "set session_replication_role = replica",
        "set role doppia_owner",
        "set role doppia",
        "set session authorization doppia_owner",
        "create table doppia.more (n integer)",
        "create table public.more (n integer)",
        "create temporary table log (n integer)",
        "create view doppia.more as select 1",
        "create schema more",
        "create function doppia.more() returns integer language sql return 1",
        "create function public.more() returns integer language sql return 1",
        "create or replace function refuse_truncate() returns trigger language plpgsql as 'begin return null; end'",
        "alter function refuse_change() set session_replication_role = replica",
        "alter function refuse_change() owner to doppia_service",
        "drop function refuse_change() cascade",
        "drop schema doppia cascade",
        "alter schema doppia owner to doppia_service",
        "alter domain minor_units drop constraint minor_units_check",
        "alter type direction add value 'neither'",
        "create role more",
        "grant doppia_owner to doppia_service",
        "alter role doppia_service superuser",
        "alter system set fsync = off",
        "copy log to program 'cat'",
        "update pg_trigger set tgenabled = 'D'",
        "select lo_export(0, '/tmp/more')",
        "select pg_read_file('postgresql.conf')",
    ],
)
async def test_the_service_can_not_get_at_the_schema_or_past_it(
    service: asyncpg.Connection, superuser: asyncpg.Connection, statement: str
) -> None:
    # As the first start does it; the copy of a database does not take its own grants along.
    name = await superuser.fetchval("select current_database()")
    await superuser.execute(f"revoke temporary on database {name} from public")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await service.execute(statement)


async def test_all_of_the_schema_belongs_to_its_owner(superuser: asyncpg.Connection) -> None:
    owners = await superuser.fetch("""
        select relowner::regrole::text from pg_class where relnamespace = 'doppia'::regnamespace
        union select proowner::regrole::text from pg_proc where pronamespace = 'doppia'::regnamespace
        union select typowner::regrole::text from pg_type where typnamespace = 'doppia'::regnamespace
        union select nspowner::regrole::text from pg_namespace where nspname = 'doppia'
    """)
    assert [row[0] for row in owners] == ["doppia_owner"]
    assert not await superuser.fetchval("select rolcanlogin from pg_roles where rolname = 'doppia_owner'")


async def test_what_runs_as_the_owner_or_by_a_trigger_looks_at_no_other_schema(superuser: asyncpg.Connection) -> None:
    """Else whoever can make a table of the same name decides what is found."""
    loose = await superuser.fetch("""
        select proname from pg_proc
         where pronamespace = 'doppia'::regnamespace and (prosecdef or prorettype = 'trigger'::regtype)
           and not coalesce(proconfig, '{}') @> array['search_path=doppia, pg_temp']
    """)
    assert not loose
    owners = await superuser.fetch("""
        select proname from pg_proc
         where pronamespace = 'doppia'::regnamespace and prosecdef and prorettype <> 'trigger'::regtype
           and has_function_privilege('public', oid, 'execute')
    """)
    assert not owners


async def test_a_trigger_is_not_fooled_by_a_temporary_table(database: Database, service: asyncpg.Connection) -> None:
    """Where the database lets everybody make some, as it does unless it is told not to."""
    books = await Books.begin(database)
    await service.execute("create temporary table ledger_heads as select * from doppia.ledger_heads")
    await service.execute("update pg_temp.ledger_heads set sequence = 2")
    await service.execute("set search_path = pg_temp, doppia")
    with pytest.raises(asyncpg.CheckViolationError, match="has a gap, or does not end at its head"):
        await service.execute("insert into log values ($1, 2, 2, now(), 1, 1, '')", books.ledger.number)


async def test_the_words_that_open_a_purge_open_nothing_to_the_service(
    database: Database, service: asyncpg.Connection
) -> None:
    async with sellers.begin(database) as seller:
        await seller.earn(1)
        await seller.sweep("posted")
        await service.execute("select set_config('doppia.purged_ledger', ledger_id::text, false) from ledgers")
        with pytest.raises(asyncpg.RestrictViolationError, match="stay in their settlement"):
            await service.execute("delete from settled_entries")


class Purge(NamedTuple):
    """The arguments of `purge_ledger`."""

    organization: UUID
    ledger: int
    confirmation: str
    key: UUID | None
    at: datetime

    async def run(self, connection: asyncpg.Connection) -> None:
        await connection.execute("select purge_ledger($1, $2, $3, $4, $5)", *self)


@pytest.fixture
async def purge(database: Database, service: asyncpg.Connection) -> Purge:
    """The purge of a ledger by an admin of its organization."""
    books = await Books.begin(database)
    admin = await service.fetchrow("select organization_id, id from api_keys")
    return Purge(admin[0], books.ledger.number, books.ledger.id, admin[1], datetime(2030, 1, 1, tzinfo=UTC))


async def test_a_purge_leaves_the_spent_number_and_a_line_that_says_who_did_it(
    service: asyncpg.Connection, purge: Purge
) -> None:
    await purge.run(service)
    assert not await service.fetchval("select count(*) from ledgers")
    assert [tuple(row) for row in await service.fetch("select * from purged_ledgers")] == [
        (purge.ledger, purge.organization, purge.at)
    ]
    last = await service.fetchrow("select * from organization_log order by sequence desc limit 1")
    assert (last["recorded_at"], last["actor"], last["kind"]) == (purge.at, purge.key, "ledger_purged")
    assert last["payload"] == {"ledger_id": purge.confirmation, "name": "books", "records": 1}


@pytest.mark.parametrize("wrong", ["organization", "ledger", "id", "no id", "no key", "unknown key", "writer's key"])
async def test_a_purge_that_the_api_would_refuse_is_refused(
    database: Database, service: asyncpg.Connection, purge: Purge, wrong: str
) -> None:
    writers, _ = await keys.create(database, now, purge.organization, name="writer", role="write")
    changes: dict[str, dict[str, Any]] = {
        "organization": {"organization": uuid4()},
        "ledger": {"ledger": purge.ledger - 1},
        "id": {"confirmation": str(uuid4())},
        "no id": {"confirmation": None},
        "no key": {"key": None},
        "unknown key": {"key": uuid4()},
        "writer's key": {"key": writers.id},
    }
    with pytest.raises(asyncpg.RestrictViolationError, match="an admin of its organization confirms the purge"):
        await purge._replace(**changes[wrong]).run(service)
    assert await service.fetchval("select count(*) from ledgers") == 1


async def test_a_revoked_key_stays_revoked(database: Database, superuser: asyncpg.Connection) -> None:
    await Books.begin(database)
    await superuser.execute("update api_keys set revoked_at = now()")
    for change in ("revoked_at = null", "revoked_at = now() + interval '1 day'", "role = 'read'"):
        with pytest.raises(asyncpg.RestrictViolationError, match="what api_keys are does not change"):
            await superuser.execute(f"update api_keys set {change}")


@pytest.fixture
async def own(postgres: Server) -> AsyncIterator[tuple[str, str]]:
    """An empty database of two roles, as docs/operating/running.md has it: the owner's URL, and the service's."""
    name = f"t{uuid4().hex}"
    connection = await asyncpg.connect(postgres.url)
    await connection.execute(f'create role "{name} owner" login')
    await connection.execute(f'create role "{name} ""service""" login')
    await connection.execute(f'create database {name} owner "{name} owner"')
    as_role = postgres.of(name).replace("//doppia@", "//{}@")
    yield as_role.format(f"{name}%20owner"), as_role.format(f"{name}%20%22service%22")
    await connection.execute(f"drop database {name} with (force)")
    await connection.execute(f'drop role "{name} owner"')
    await connection.execute(f'drop role "{name} ""service"""')
    await connection.close()


async def opened(url: str) -> Database:
    database = Database(url)
    await database.open()
    return database


async def rewrites(database: Database) -> bool:
    async with database.connection() as connection:
        return await may_rewrite_history(connection)


async def test_a_database_of_two_roles_is_migrated_by_one_and_served_by_the_other(own: tuple[str, str]) -> None:
    owner, service = own
    await migrate(owner, service_url=service)
    database = await opened(service)
    books = await Books.begin(database)
    cash, wallet = await books.open(normal_balance="debit"), await books.open()
    groups = PostingGroups(database, now)
    await groups.submit(*books.create(move(cash, wallet, 5), "posted"))
    await groups.close()
    assert not await rewrites(database)
    await database.close()
    owners = await opened(owner)
    assert await rewrites(owners)
    await owners.close()


async def test_the_owner_is_needed_only_where_something_is_missing(own: tuple[str, str]) -> None:
    owner, service = own
    with pytest.raises(DatabaseUrlError, match="permission denied for database"):
        await migrate(service)
    await migrate(owner, service_url=service)
    await migrate(service)


async def test_what_the_service_was_granted_beyond_its_grants_is_taken_back(own: tuple[str, str]) -> None:
    owner, service = own
    await migrate(owner, service_url=service)
    owners, database = await opened(owner), await opened(service)
    async with owners.connection() as connection, database.connection() as served:
        role = await served.fetchval("select quote_ident(current_user)")
        await connection.execute(f"grant delete, update on log to {role}")
        await connection.execute(f"grant update (name) on organizations to {role}")
        assert await is_permitted(served, "delete from log")
        await migrate(owner, service_url=service)
        for statement in ("delete from log", "update log set kind = 1", "update organizations set name = ''"):
            assert not await is_permitted(served, statement)
    await owners.close()
    await database.close()


async def test_one_role_that_owns_and_serves_is_left_to_the_triggers(own: tuple[str, str]) -> None:
    owner, _ = own
    await migrate(owner)
    await migrate(owner, service_url=owner)
    database = await opened(owner)
    await Books.begin(database)
    assert await rewrites(database)
    with pytest.raises(ConstraintViolatedError, match="history_is_final"):
        async with database.tx() as connection:
            await connection.execute("delete from log")
    await database.close()
