"""What the schema refuses of account statements: raw SQL can not make one say what its account's entries do not."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg
import pytest

from doppia.accounting.ids import Id
from doppia.engine.ledger.statements import CreateStatement
from doppia.engine.posting.group import post
from doppia.engine.posting.writing import NOBODY
from doppia.store.database.connections import Database
from tests.engine.bookkeeping import Books, move, now
from tests.store.invariants import assert_invariants, violations

pytestmark = pytest.mark.anyio

LOWER, UPPER = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
RIGHT = {
    "lock_version": "3",
    "lower": f"'{LOWER}'",
    "upper": f"'{UPPER}'",
    "starting": "100, 0, 0, 0",
    "ending": "130, 0, 0, 7",
}


@dataclass
class Writer:
    """Writes past the service to a ledger whose wallet got 100 in February and 30 in March, of which 7 are held."""

    connection: asyncpg.Connection
    url: str
    wallet: Id

    async def insert(self, **parts: str) -> None:
        parts = {**RIGHT, "account": str(self.wallet.sequence), **parts}
        await self.connection.execute(
            """
            insert into account_statements (
                ledger_id, statement_sequence, account_sequence, lock_version, effective_at_lower_bound,
                effective_at_upper_bound, starting_posted_credits, starting_posted_debits, starting_pending_credits,
                starting_pending_debits, ending_posted_credits, ending_posted_debits, ending_pending_credits,
                ending_pending_debits, created_at)
            values ({ledger}, 99, {account}, {lock_version}, {lower}, {upper}, {starting}, {ending}, now())
            """.format(ledger=self.wallet.ledger, **parts)
        )

    async def refused(self, constraint: str, **parts: str) -> None:
        with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refusal:
            await self.insert(**parts)
        assert refusal.value.constraint_name == constraint
        await assert_invariants(self.url)


@pytest.fixture
async def writer(database: Database, database_url: str) -> AsyncIterator[Writer]:
    books = await Books.begin(database)
    cash, wallet = await books.open(), await books.open()
    commands = [
        books.create(move(cash, wallet, 100), effective_at=datetime(2026, 2, 1, tzinfo=UTC)),
        books.create(move(cash, wallet, 30), effective_at=LOWER),
        books.create(move(wallet, cash, 7), "pending", effective_at=LOWER),
    ]
    await post(database, now, commands)
    command = CreateStatement(
        ledger=books.ledger, account=wallet, effective_at_lower_bound=LOWER, effective_at_upper_bound=UPPER
    )
    await books.engine.perform(NOBODY, command)
    connection = await asyncpg.connect(database_url, server_settings={"search_path": "doppia", "timezone": "UTC"})
    yield Writer(connection, database_url, wallet)
    await connection.close()


async def test_what_is_written_as_the_service_writes_it_passes(writer: Writer) -> None:
    await writer.insert()
    assert await writer.connection.fetchval("select count(*) from account_statements") == 2


@pytest.mark.parametrize(
    "parts",
    [
        {"starting": "99, 0, 0, 0"},
        {"starting": "0, 0, 0, 0"},
        {"ending": "130, 0, 0, 0"},
        {"ending": "130, 0, 7, 0"},
        {"ending": "123, 0, 0, 0"},
        {"lock_version": "2"},
        {"lock_version": "4"},
        {"lower": "'2026-01-01 00:00:00+00'"},
        {"upper": "'2026-03-01 00:00:00+00'"},
        {"account": "2"},
    ],
    ids=lambda parts: ", ".join(f"{name} {value}" for name, value in parts.items()),
)
async def test_a_statement_says_what_the_entries_say(writer: Writer, parts: dict[str, str]) -> None:
    await writer.refused("statements_follow_entries", **parts)


@pytest.mark.parametrize(
    ("constraint", "parts"),
    [
        ("account_statements_check", {"upper": "'2026-02-01 00:00:00+00'"}),
        ("minor_units_check", {"starting": "-1, 0, 0, 0"}),
        ("minor_units_check", {"starting": "100.5, 0, 0, 0"}),
        ("account_statements_lock_version_check", {"lock_version": "-1"}),
    ],
)
async def test_a_statement_is_in_shape(writer: Writer, constraint: str, parts: dict[str, str]) -> None:
    await writer.refused(constraint, **parts)


async def test_a_statement_of_an_account_that_is_not_there_is_refused(writer: Writer) -> None:
    await writer.refused("account_statements_ledger_id_account_sequence_fkey", account="77")


@pytest.mark.parametrize(
    "statement",
    [
        "update account_statements set ending_posted_credits = 131",
        "update account_statements set description = 'x'",
        "delete from account_statements",
        "truncate account_statements",
    ],
)
async def test_a_statement_is_final(writer: Writer, statement: str) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refusal:
        await writer.connection.execute(statement)
    assert refusal.value.constraint_name == "history_is_final"


async def test_the_rules_of_the_tests_see_what_the_constraints_refuse(writer: Writer) -> None:
    await writer.connection.execute("set session_replication_role = replica")
    assert await violations(writer.connection) == []
    for column in ("starting_posted_credits", "ending_pending_debits"):
        await writer.connection.execute(f"update account_statements set {column} = {column} + 1")
        assert len(await violations(writer.connection)) == 2
        await writer.connection.execute(f"update account_statements set {column} = {column} - 1")
    await writer.connection.execute("update account_statements set lock_version = 2")
    assert len(await violations(writer.connection)) == 2
