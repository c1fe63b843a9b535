"""Every table of a ledger in which everything has happened is changed by hand; `verify` says where, and what."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import pytest

from doppia.accounting.ids import format_id, parse_id
from doppia.api.http.request import Service
from doppia.engine.verification.resume import Resumed
from doppia.engine.verification.verify import Finding, verify
from tests.api.over_http import Books, Json, found_organization
from tests.api.whole_books import live
from tests.servers import Server

pytestmark = pytest.mark.anyio


@dataclass
class Whole:
    """A ledger in which everything has happened, and one beside it."""

    books: Books
    ledger: Json
    beside: Json
    connection: asyncpg.Connection

    @property
    def number(self) -> int:
        found = parse_id(self.ledger["id"])
        assert found is not None
        return found.ledger

    async def finding(self) -> str:
        """Return what is wrong with the ledger; the one beside it holds."""
        steps = [step async for step in verify(self.books.service.engine.database, None, {}, Resumed())]
        good = [verification.id for verification, told in steps if verification is not None and told is None]
        assert self.beside["id"] in good
        found = [str(told) for _, told in steps if isinstance(told, Finding)]
        assert len(found) <= 1, found
        return found[0] if found else ""

    @asynccontextmanager
    async def changed(self, table: str, statement: str) -> AsyncIterator[None]:
        """Change a table, past all triggers, for as long as it is looked at; `$` stands for the ledger's number."""
        run = self.connection.execute
        await run(f"create temp table saved as select * from {table} where ledger_id = {self.number}")
        try:
            told = await run(statement.replace("$", str(self.number)))
            assert told.rpartition(" ")[2] != "0", told
            yield
        finally:
            await run(f"delete from {table} where ledger_id = {self.number}")
            await run(f"insert into {table} select * from saved")
            await run("drop table saved")


@pytest.fixture(scope="module")
async def whole(postgres: Server, service: Service) -> AsyncIterator[Whole]:
    books = await found_organization(service)
    other = await found_organization(service)
    async with books.client, other.client, service.engine.database.connection() as session:
        name = await session.fetchval("select current_database()")
        connection = await asyncpg.connect(postgres.of(name), server_settings={"search_path": "doppia"})
        await connection.execute("set session_replication_role = replica")
        yield Whole(books, await live(books), await other.ledger(name="beside"), connection)
        await connection.close()


async def test_nothing_is_found_of_a_ledger_in_which_everything_has_happened(whole: Whole) -> None:
    assert await whole.finding() == ""


# What is changed in which table, and what of it is said.
_ENTRY = (
    "insert into entries select ledger_id, {entry}, transaction_sequence, account_sequence, 9999, created_at, "
    "effective_at, direction, status, amount, 1, 1, 1, 1 from entries where ledger_id = $ and status = 'posted' limit 1"
)
CHANGES = {
    "an account swept to where it has not come": (
        "settled_accounts", "update settled_accounts set swept_lock_version = 9999 where ledger_id = $",
        "its swept_lock_version is 9999 in the table, and the account has not come so far",
    ),
    "an account swept past an entry": (
        "settled_accounts",
        """
        insert into settled_accounts select ledger_id, account_sequence, lock_version from balances where
        ledger_id = $ on conflict do nothing
        """,
        "which is not after it, is in no settlement",
    ),
    "whose the ledger is": (
        "ledgers",
        """
        update ledgers set organization_id = (select organization_id from ledgers where ledger_id <> $)
        where ledger_id = $
        """,
        "and by the log of organizations",
    ),
    "the last entry that can be": (
        "entries", _ENTRY.format(entry="9223372036854775807"), "is there, and no record wrote it",
    ),
    "the first entry that can be": (
        "entries", _ENTRY.format(entry="(-9223372036854775808)"), "is there, and no record wrote it",
    ),
    "the last record that can be": (
        "log",
        """
        insert into log select ledger_id, 9223372036854775807, object_sequence, recorded_at, kind, event,
        payload from log where ledger_id = $ and sequence = 1
        """,
        "in its place stands record 1",
    ),
    "the last discard that can be": (
        "discards", "update discards set sequence = 9223372036854775807 where ledger_id = $", "the discard of entry",
    ),
    "the first balance that can be": (
        "balances",
        "update balances set account_sequence = (-9223372036854775808) where ledger_id = $ and account_sequence = 2",
        "account number -9223372036854775808: its balance is there, and no record opened it",
    ),
    "the first settled entry that can be": (
        "settled_entries",
        """
        insert into settled_entries select ledger_id, (-9223372036854775808), settlement_sequence from
        settled_entries where ledger_id = $ limit 1
        """,
        "is in settlement",
    ),
    "an entry that leaves its settlement": (
        "settled_entries", "delete from settled_entries where ledger_id = $", "and is not",
    ),
    "when the ledger changed": (
        "ledgers", "update ledgers set updated_at = now() where ledger_id = $", "its updated_at is",
    ),
    "when a settlement changed": (
        "settlements", "update settlements set updated_at = now() where ledger_id = $", "its updated_at is",
    ),
    "a category in a set that is not there": (
        "category_set_members",
        """
        insert into category_set_members select ledger_id, category_sequence, 9999 from categories where
        ledger_id = $ limit 1
        """,
        "is named in category set 9999, which is not there",
    ),
    "a category that is not named in its set": (
        "category_set_members", "delete from category_set_members where ledger_id = $", "is named by no category",
    ),
    "a set that no record made": (
        "category_sets", "insert into category_sets (ledger_id, category_set, categories) values ($, 2, array[9999])",
        "and no record made it",
    ),
    "what a set comes to": (
        "category_sets", "update category_sets set posted_debits = posted_debits + 1 where ledger_id = $",
        "its posted_debits is",
    ),
    "an account in a set that is not there": (
        "balances", "update balances set category_set = 9999 where ledger_id = $ and category_set is null",
        "its category_set is 9999 in the table, and none by the log",
    ),
    "an account in no set": (
        "balances", "update balances set category_set = null where ledger_id = $",
        "its category_set is None in the table",
    ),
    "whether an account is monitored": (
        "balances", "update balances set is_monitored = not is_monitored where ledger_id = $", "its is_monitored is",
    ),
    "a sum of an account": (
        "balances", "update balances set pending_debits = pending_debits + 1 where ledger_id = $",
        "its pending_debits is",
    ),
    "when the head was recorded": (
        "ledger_heads", "update ledger_heads set recorded_at = now() where ledger_id = $", "its head's recorded_at is",
    ),
    "which entry an annotation is of": (
        "log", "update log set object_sequence = 2 where ledger_id = $ and kind = 4", "its object_sequence is 2",
    ),
    "which transaction a change is of": (
        "log", "update log set object_sequence = 2 where ledger_id = $ and kind = 3 and object_sequence <> sequence",
        "its object_sequence is 2",
    ),
    "a time that a bucket can not begin at": (
        "effective_sums",
        """
        insert into effective_sums select ledger_id, account_sequence, 0, 4611686018427387904, 512, 1, 1,
        false, 1, 1, 1, 1 from accounts where ledger_id = $ limit 1
        """,
        "microseconds after 1970 on sum to is wrong",
    ),
    "a time beyond what can be read": (
        "accounts", "update accounts set updated_at = '20000-01-01' where ledger_id = $", "holds what can't be read",
    ),
    "a time without an end": (
        "account_statements", "update account_statements set effective_at_upper_bound = 'infinity' where ledger_id = $",
        "holds what can't be read",
    ),
    "the salt of texts in the log": (
        "log", "update log set texts = set_byte(texts, 4, get_byte(texts, 4) # 1) where ledger_id = $ and kind = 2",
        "its texts are not what it commits to",
    ),
    "texts of a record that has none": (
        "log", "update log set texts = '\\x8100c40100' where ledger_id = $ and kind = 6",
        "it has a block of texts with the ordinal 0, and does not commit to it",
    ),
    "texts that are no blocks": (
        "log", "update log set texts = '\\x80' where ledger_id = $ and kind = 4",
        "its texts are not in canonical bytes",
    ),
    "texts that are gone and that no redaction names": (
        "log",
        """
        update log set texts = null where ledger_id = $ and sequence = (
            select min(l.sequence) from log l
              join log c on c.ledger_id = l.ledger_id and c.object_sequence = l.sequence and c.sequence > l.sequence
             where l.ledger_id = $ and l.kind = 3 and c.kind = 3 and l.texts is not null)
        """,
        "are gone, and no redaction says so",
    ),
    "all texts": ("log", "update log set texts = null where ledger_id = $", "and '[redacted]' by the log"),
    "when the ledger was created": (
        "ledgers", "update ledgers set created_at = 'infinity' where ledger_id = $", "its created_at is",
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_is_found_and_says_what_was_changed(whole: Whole, change: str) -> None:
    table, statement, says = CHANGES[change]
    async with whole.changed(table, " ".join(statement.split())):
        assert says in await whole.finding()
    assert await whole.finding() == ""


async def test_what_no_record_wrote_is_named_by_its_id(whole: Whole) -> None:
    created = 1_700_000_000
    statement = _ENTRY.format(entry=5000 << 10 | 3).replace("created_at,", f"to_timestamp({created}),", 1)
    async with whole.changed("entries", statement):
        assert f"entry {format_id(created, whole.number, 5000, 3)} is there" in await whole.finding()
