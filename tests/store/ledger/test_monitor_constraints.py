"""What the schema refuses of balance monitors: raw SQL can not make one disagree with its account."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg
import pytest

from doppia.accounting.ids import Id
from doppia.engine.ledger.monitors import CreateMonitor
from doppia.engine.posting.group import post
from doppia.engine.posting.writing import NOBODY
from doppia.store.database.connections import Database
from tests.engine.bookkeeping import Books, move, now
from tests.store.invariants import assert_invariants, violations
from tests.store.log.blank_trees import blank_tree

pytestmark = pytest.mark.anyio

AT = datetime(2026, 3, 31, tzinfo=UTC)


@dataclass
class Writer:
    """Writes past the service to a ledger with a wallet that holds 100, watched by a monitor of `more than 50`."""

    connection: asyncpg.Connection
    url: str
    books: Books
    cash: Id
    wallet: Id
    monitor: int

    async def refused(self, constraint: str, *statements: str) -> None:
        """Run statements in one database transaction, which the constraint refuses at its end at the latest."""
        with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refusal:
            async with self.connection.transaction():
                for statement in statements:
                    await self.connection.execute(statement)
        assert refusal.value.constraint_name == constraint
        await assert_invariants(self.url)


@pytest.fixture
async def writer(database: Database, database_url: str) -> AsyncIterator[Writer]:
    books = await Books.begin(database)
    cash, wallet = await books.open(), await books.open()
    await post(database, now, [books.create(move(cash, wallet, 100))])
    command = CreateMonitor(
        ledger=books.ledger, account=wallet, monitored="posted_balance_amount", operator="greater_than", value=50
    )
    created = await books.engine.perform(NOBODY, command)
    connection = await asyncpg.connect(database_url, server_settings={"search_path": "doppia"})
    yield Writer(connection, database_url, books, cash, wallet, created.fields.monitor.sequence)
    await connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "update balance_monitors set is_triggered = not is_triggered",
        "update balances set is_monitored = false",
        "update balance_monitors set is_triggered = false, updated_at = now()",
    ],
)
async def test_the_state_of_a_monitor_is_not_set_by_hand(writer: Writer, statement: str) -> None:
    await writer.refused("monitors_follow_balances", statement)


async def test_checks_that_are_asked_for_early_come_early(writer: Writer) -> None:
    await writer.refused(
        "monitors_follow_balances",
        "set constraints all immediate",
        "update balance_monitors set is_triggered = false",
        "update balance_monitors set is_triggered = true",
    )


async def test_a_state_that_is_right_again_at_the_end_passes(writer: Writer) -> None:
    async with writer.connection.transaction():
        await writer.connection.execute("update balance_monitors set is_triggered = false")
        await writer.connection.execute("update balance_monitors set is_triggered = true")
    await assert_invariants(writer.url)


@pytest.mark.parametrize("is_triggered", [True, False])
async def test_a_balance_does_not_cross_without_its_monitor(writer: Writer, is_triggered: bool) -> None:
    """100 leave the wallet by raw SQL, right in every other way."""
    statements = [
        f"""
        with head as (
            update ledger_heads set sequence = sequence + 1, (root, frontier) = row({blank_tree("sequence + 1")})
            returning ledger_id, sequence, recorded_at)
        insert into log (ledger_id, sequence, object_sequence, recorded_at, kind, event, payload)
        select ledger_id, sequence, sequence, recorded_at, 3, 1, '' from head
        """,
        f"""
        with moved as (
            update balances set lock_version = 2, posted_credits = 100, posted_debits = 100
             where account_sequence in ({writer.cash.sequence}, {writer.wallet.sequence})
        ), created as (
            insert into transactions (ledger_id, transaction_sequence, entries_sequence, created_at, updated_at,
                                      effective_at, posted_at, status, version)
            select ledger_id, sequence, sequence, recorded_at, recorded_at, recorded_at, recorded_at, 'posted', 0
              from ledger_heads
        )
        insert into entries (ledger_id, entry, transaction_sequence, account_sequence, lock_version, created_at,
                             effective_at, direction, status, amount, posted_credits, posted_debits, pending_credits,
                             pending_debits)
        select h.ledger_id, (h.sequence << 10) + side, h.sequence, account, 2, recorded_at, recorded_at,
               direction::direction, 'posted', 100, 100, 100, 0, 0
          from ledger_heads h,
               unnest(array[{writer.wallet.sequence}, {writer.cash.sequence}], array['debit', 'credit'])
               with ordinality as e (account, direction, side)
        """,
    ]
    if is_triggered:
        await writer.refused("monitors_follow_balances", *statements)
        return
    async with writer.connection.transaction():
        for statement in [*statements, "update balance_monitors set is_triggered = false"]:
            await writer.connection.execute(statement)
    assert not await writer.connection.fetchval("select is_triggered from balance_monitors")


INSERT = """
insert into balance_monitors (ledger_id, monitor_sequence, account_sequence, field, operator, value, is_triggered,
                              created_at, updated_at)
values ({ledger}, 99, {account}, '{field}', 'greater_than', {value}, {triggered}, now(), now())
"""


@pytest.mark.parametrize(
    ("field", "value", "triggered"),
    [
        ("posted_balance_amount", "99", "false"), ("posted_balance_amount", "100", "true"),
        ("pending_balance_amount", "100", "true"), ("available_balance_amount", "99", "false"),
        ("ledger_account_lock_version", "0", "false"), ("ledger_account_lock_version", "1", "true"),
    ],
)  # fmt: skip
async def test_a_monitor_begins_in_the_state_that_its_account_gives_it(
    writer: Writer, field: str, value: str, triggered: str
) -> None:
    asked = {"ledger": writer.books.ledger.number, "account": writer.wallet.sequence, "field": field, "value": value}
    await writer.refused("monitors_follow_balances", INSERT.format(**asked, triggered=triggered))


async def test_a_monitor_of_an_account_that_is_not_watched_is_refused(writer: Writer) -> None:
    asked = {"ledger": writer.books.ledger.number, "account": writer.cash.sequence}
    statement = INSERT.format(**asked, field="posted_balance_amount", value="0", triggered="false")
    await writer.refused("monitors_follow_balances", statement)


@pytest.mark.parametrize("value", ["1.5", "'NaN'", "'Infinity'", "'-Infinity'", "1e45 + 1", "-1e45 - 1"])
async def test_a_value_is_a_whole_number_of_at_most_10_to_the_45(writer: Writer, value: str) -> None:
    asked = {"ledger": writer.books.ledger.number, "account": writer.wallet.sequence}
    statement = INSERT.format(**asked, field="posted_balance_amount", value=value, triggered="false")
    await writer.refused("balance_monitors_value_check", statement)


async def test_a_monitor_of_an_account_that_is_not_there_is_refused(writer: Writer) -> None:
    asked = {"ledger": writer.books.ledger.number, "account": 77}
    statement = INSERT.format(**asked, field="posted_balance_amount", value="0", triggered="false")
    await writer.refused("balance_monitors_ledger_id_account_sequence_fkey", statement)


@pytest.mark.parametrize(
    ("constraint", "statement"),
    [
        ("identity_is_final", "update balance_monitors set value = 51"),
        ("identity_is_final", "update balance_monitors set operator = 'greater_than_or_equals'"),
        ("identity_is_final", "update balance_monitors set field = 'pending_balance_amount'"),
        ("identity_is_final", "update balance_monitors set account_sequence = 2"),
        ("identity_is_final", "update balance_monitors set monitor_sequence = 99"),
        ("identity_is_final", "update balance_monitors set created_at = now()"),
        ("history_is_final", "delete from balance_monitors"),
        ("history_is_final", "truncate balance_monitors"),
    ],
)
async def test_what_a_monitor_is_does_not_change(writer: Writer, constraint: str, statement: str) -> None:
    await writer.refused(constraint, statement)


async def test_a_discarded_monitor_comes_back_in_the_right_state_only(writer: Writer) -> None:
    await writer.connection.execute("update balance_monitors set discarded_at = now(), is_triggered = false")
    with pytest.raises(asyncpg.CheckViolationError):
        await writer.connection.execute("update balance_monitors set discarded_at = null")


async def test_the_rules_of_the_tests_see_what_the_constraints_refuse(writer: Writer) -> None:
    await writer.connection.execute("set session_replication_role = replica")

    await writer.connection.execute("update balance_monitors set is_triggered = false")
    assert len(await violations(writer.connection)) == 2
    await writer.connection.execute("update balance_monitors set is_triggered = true")
    assert await violations(writer.connection) == []
    await writer.connection.execute("update balances set is_monitored = true")
    assert len(await violations(writer.connection)) == 1


async def test_an_account_is_watched_by_a_hundred_monitors_at_most(writer: Writer) -> None:
    def watch(first: int, last: int) -> str:
        return f"""
            insert into balance_monitors (ledger_id, monitor_sequence, account_sequence, field, operator, value,
                                          is_triggered, created_at, updated_at)
            select {writer.books.ledger.number}, 1000 + number, {writer.wallet.sequence}, 'posted_balance_amount',
                   'less_than', 0, false, now(), now()
              from generate_series({first}, {last}) number
            """

    one_more = watch(101, 101)
    async with writer.connection.transaction():
        await writer.connection.execute(watch(1, 99))
        with pytest.raises(asyncpg.CheckViolationError) as refusal:
            async with writer.connection.transaction():
                await writer.connection.execute(one_more)
                await writer.connection.execute("set constraints all immediate")
        assert refusal.value.constraint_name == "monitors_of_account_are_few"
    async with writer.connection.transaction():
        await writer.connection.execute(
            "update balance_monitors set discarded_at = now() where monitor_sequence = $1", writer.monitor
        )
        await writer.connection.execute(one_more)
    with pytest.raises(asyncpg.CheckViolationError) as refusal:
        await writer.connection.execute("update balance_monitors set discarded_at = null")
    assert refusal.value.constraint_name == "monitors_of_account_are_few"
