"""Whoever can write past all triggers changes what is stored; `verify` finds it, and names what was changed."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
import pytest

from doppia.accounting.ids import Id, format_id
from doppia.accounting.ledger.transactions import Draft, Transaction
from doppia.engine.ledger.entries import AnnotateEntry
from doppia.engine.posting.commands import Asked
from doppia.engine.posting.group import post
from doppia.engine.posting.writing import NOBODY
from doppia.engine.verification.resume import Resumed
from doppia.engine.verification.verify import Finding, verify
from doppia.proof.checkpoints import Checkpoint
from doppia.proof.sealing import Sealed, opened, seal
from doppia.proof.tree import Frontier, leaf_hash, root_of
from doppia.store.database.connections import Database
from tests.engine.bookkeeping import PHP, Books, id_of, leg, move, now
from tests.redacting import redact

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Story:
    """A ledger of three accounts: a posted transaction, a captured hold, a hold that was given up, an open one."""

    books: Books
    accounts: list[Id]
    posted: Id
    captured: Id
    connection: asyncpg.Connection

    def entry(self, transaction: Id, ordinal: int) -> str:
        return format_id(transaction.seconds, self.books.ledger.number, transaction.sequence, ordinal)

    async def tamper(self, *statements: str) -> None:
        """Run SQL as whoever owns the machine: no trigger and no foreign key is in the way."""
        ledger = self.books.ledger.number
        for statement in statements:
            await self.connection.execute(statement.format(ledger=ledger, posted=self.posted.sequence))

    async def records(self) -> list[Sealed]:
        rows = await self.connection.fetch(
            "select payload, texts from log where ledger_id = $1 order by sequence", self.books.ledger.number
        )
        return [(row[0], row[1]) for row in rows]

    async def set_record(self, sequence: int, payload: bytes, texts: bytes | None) -> None:
        await self.connection.execute(
            "update log set payload = $3, texts = $4 where ledger_id = $1 and sequence = $2",
            self.books.ledger.number, sequence, payload, texts,
        )  # fmt: skip

    async def set_tree(self) -> None:
        """Make the tree anew over what is in the log now."""
        tree, _ = Frontier().extended(leaf_hash(payload) for payload, _ in await self.records())
        await self.connection.execute(
            "update ledger_heads set sequence = $2, root = $3, frontier = $4 where ledger_id = $1",
            self.books.ledger.number, tree.size, tree.root(), tree.to_bytes(),
        )  # fmt: skip


async def _do(database: Database, *commands: Asked) -> list[Id]:
    told = [(await post(database, now, [command]))[0] for command in commands]
    return [id_of(each.id) for each in told if isinstance(each, Transaction)]


@pytest.fixture
async def story(database: Database, database_url: str) -> Any:
    books = await Books.begin(database)
    accounts = [await books.open(PHP) for _ in range(3)]
    one, two, three = accounts
    posted, captured, given_up, _ = await _do(
        database,
        books.create(
            [leg(one, "debit", 100, metadata={"memo": "tea"}), leg(two, "credit", 100, metadata={"memo": "milk"})],
            metadata={"order": "7"},
            effective_at=NOON,
        ),
        books.create(move(one, three, 40), "pending"),
        books.create(move(two, three, 5), "pending"),
        books.create(move(three, one, 1), "pending"),
    )
    await _do(
        database,
        books.revise(captured, status="posted"),
        books.revise(given_up, status="archived"),
        books.revise(posted, metadata={"order": "8"}),
    )
    first = id_of(format_id(posted.seconds, books.ledger.number, posted.sequence, 1))
    await books.engine.perform(NOBODY, AnnotateEntry(ledger=books.ledger, target=first, metadata={"memo": "coffee"}))
    connection = await asyncpg.connect(database_url, server_settings={"search_path": "doppia"})
    await connection.execute("set session_replication_role = replica")
    yield Story(books, accounts, posted, captured, connection)
    await connection.close()


async def findings(database: Database, *checkpoints: tuple[str, Checkpoint]) -> list[Finding]:
    return [told async for _, told in verify(database, None, dict(checkpoints), Resumed()) if isinstance(told, Finding)]


async def finding(database: Database, *checkpoints: tuple[str, Checkpoint]) -> str:
    """Return what is wrong with the only ledger."""
    found = await findings(database, *checkpoints)
    assert len(found) == 1, found
    return str(found[0])


@pytest.mark.usefixtures("story")
async def test_nothing_is_found_where_nothing_was_changed(database: Database) -> None:
    assert await findings(database) == []


# What is changed, and of which entry of the posted transaction or of which account it is found.
ROWS = {
    "an amount": ("update entries set amount = amount + 1 where entry = {posted} * 1024 + 2", 2, "its amount is 101"),
    "a direction": ("update entries set direction = 'debit' where entry = {posted} * 1024 + 2", 2, "its direction"),
    "an effective time": (
        "update entries set effective_at = effective_at + interval '1 day' where entry = {posted} * 1024 + 1",
        1, "its effective_at",
    ),
    "a running sum": (
        "update entries set posted_credits = 1 where entry = {posted} * 1024 + 1", 1, "its posted_credits is 1",
    ),
    "a lock version": ("update entries set lock_version = 90 where entry = {posted} * 1024 + 1", 1, "lock_version"),
    "a removed entry": ("delete from entries where entry = {posted} * 1024 + 2", 2, "is missing"),
    "an inserted entry": (
        ("insert into entries select ledger_id, entry + 1, transaction_sequence, account_sequence, 70, created_at, "
        "effective_at, direction, status, amount, posted_credits, posted_debits, pending_credits, pending_debits "
        "from entries where entry = {posted} * 1024 + 2"),
        3, "no record wrote it",
    ),
    "metadata that was replaced": (
        "update entry_metadata set metadata = '{{\"memo\": \"tea\"}}' where entry = {posted} * 1024 + 1",
        1, "metadata",
    ),
    "metadata as it was written": (
        "update entry_metadata set metadata = '{{}}' where entry = {posted} * 1024 + 2", 2, "metadata",
    ),
    "removed metadata": ("delete from entry_metadata where entry = {posted} * 1024 + 2", 2, "metadata"),
}  # fmt: skip


@pytest.mark.parametrize("change", ROWS)
async def test_a_changed_entry_is_found_and_named(database: Database, story: Story, change: str) -> None:
    statement, ordinal, says = ROWS[change]
    await story.tamper(statement)
    told = await finding(database)
    assert story.entry(story.posted, ordinal) in told
    assert says in told


TRANSACTIONS = {
    "metadata": 'update transactions set metadata = \'{{"order": "9"}}\' where transaction_sequence = {posted}',
    "a description": "update transactions set description = 'x' where transaction_sequence = {posted}",
    "an external id": "update transactions set external_id = 'x' where transaction_sequence = {posted}",
    "an effective time": "update transactions set effective_at = now() where transaction_sequence = {posted}",
    "a posting time": "update transactions set posted_at = now() where transaction_sequence = {posted}",
    "a version": "update transactions set version = 7 where transaction_sequence = {posted}",
    "a time of creation": "update transactions set created_at = now() where transaction_sequence = {posted}",
    "its entries": "update transactions set entries_sequence = 1 where transaction_sequence = {posted}",
    "its removal": "delete from transactions where transaction_sequence = {posted}",
}


@pytest.mark.parametrize("change", TRANSACTIONS)
async def test_a_changed_transaction_is_found_and_named(database: Database, story: Story, change: str) -> None:
    await story.tamper(TRANSACTIONS[change])
    assert f"transaction {story.posted}" in await finding(database)


ACCOUNTS = {
    "a removed account": "delete from accounts where account_sequence = {account}",
    "a balance": "update balances set posted_debits = posted_debits + 1 where account_sequence = {account}",
    "a removed balance": "delete from balances where account_sequence = {account}",
    "a name": "update accounts set name = 'mine' where account_sequence = {account}",
    "metadata": "update accounts set metadata = jsonb_build_object('a', 'b') where account_sequence = {account}",
    "a normal balance": "update accounts set normal_balance = 'debit' where account_sequence = {account}",
    "a discard": "update accounts set discarded_at = now() where account_sequence = {account}",
}


@pytest.mark.parametrize("change", ACCOUNTS)
async def test_a_changed_account_is_found_and_named(database: Database, story: Story, change: str) -> None:
    await story.tamper(ACCOUNTS[change].format(account=story.accounts[0].sequence))
    told = await finding(database)
    assert f"account {story.accounts[0]}" in told or change == "a removed balance"


async def test_rows_that_no_record_made_are_found(database: Database, story: Story) -> None:
    await story.tamper(
        "insert into transactions (ledger_id, transaction_sequence, entries_sequence, created_at, updated_at, "
        "effective_at, posted_at, status, version) select ledger_id, 900, 900, to_timestamp(1.7e9), now(), now(), "
        "now(), 'posted', 0 from ledgers"
    )
    made = format_id(1_700_000_000, story.books.ledger.number, 900)
    assert f"transaction {made} is there, and no record made it" in await finding(database)


async def test_a_discard_that_was_changed_or_removed_is_found(database: Database, story: Story) -> None:
    held = story.entry(story.captured, 1)
    await story.tamper(f"update discards set lock_version = 60 where entry = {story.captured.sequence} * 1024 + 1")
    assert f"the discard of entry {held}" in await finding(database)
    await story.tamper(f"delete from discards where entry = {story.captured.sequence} * 1024 + 1")
    assert f"the discard of entry {held} is missing" in await finding(database)


def _changed(as_sealed: Sealed, **fields: Any) -> Sealed:
    """Return a record with other fields, and with new commitments where these are texts."""
    record = opened(*as_sealed)
    unsealed = {"texts": None, "salts": None} | ({"entry_texts": None} if hasattr(record, "entry_texts") else {})
    return seal(msgspec.structs.replace(record, **unsealed, **fields), lambda: bytes(16))


async def test_a_changed_payload_is_found_in_its_record(database: Database, story: Story) -> None:
    records = await story.records()
    sequence = story.posted.sequence
    payload, texts = records[sequence - 1]
    amounts = [msgspec.structs.replace(entry, amount="999") for entry in opened(payload, texts).entries]
    await story.set_record(sequence, *_changed(records[sequence - 1], entries=amounts))
    assert f"record {sequence}: entry {story.entry(story.posted, 1)}: its amount" in await finding(database)
    await story.set_record(sequence, *_changed(records[sequence - 1], effective_at=0))
    assert f"record {sequence}: entry {story.entry(story.posted, 1)}: its effective_at" in await finding(database)
    await story.set_record(sequence, payload + b"\x00", texts)
    assert f"record {sequence}: its payload is no record" in await finding(database)


async def test_a_text_or_a_salt_that_was_changed_in_the_log_is_found(database: Database, story: Story) -> None:
    sequence = story.posted.sequence
    payload, texts = (await story.records())[sequence - 1]
    assert texts is not None
    await story.set_record(sequence, payload, texts.replace(b"order\xa17", b"order\xa16"))
    assert f"record {sequence}: its texts are not what it commits to" in await finding(database)
    salt = opened(payload, texts).salts[0]
    await story.set_record(sequence, payload, texts.replace(salt, bytes(16)))
    assert f"record {sequence}: its texts are not what it commits to" in await finding(database)
    await story.set_record(sequence, payload, texts.replace(b"milk", b"mill"))
    assert f"record {sequence}: the metadata of its entry 2 is not what it commits to" in await finding(database)
    await story.set_record(sequence, payload, texts)
    assert await findings(database) == []


def _without_own(texts: bytes | None) -> bytes:
    blocks = msgspec.msgpack.decode(texts or b"\x80", type=dict[int, bytes])
    return msgspec.msgpack.encode({ordinal: block for ordinal, block in blocks.items() if ordinal})


async def test_texts_that_were_removed_without_a_redaction_are_found(database: Database, story: Story) -> None:
    """They are of an older version, which no row repeats."""
    sequence = story.posted.sequence
    payload, texts = (await story.records())[sequence - 1]
    await story.set_record(sequence, payload, _without_own(texts))
    says = f"record {sequence}: the texts of record {sequence} are gone, and no redaction says so"
    assert says in await finding(database)


async def test_texts_of_a_row_that_were_removed_without_a_redaction_are_found(database: Database, story: Story) -> None:
    account = story.accounts[0].sequence
    payload, _ = (await story.records())[account - 1]
    await story.set_record(account, payload, None)
    assert f"account {story.accounts[0]}: its name is" in await finding(database)
    await story.tamper(f"update accounts set name = '[redacted]' where account_sequence = {account}")
    assert f"account {story.accounts[0]}: its description is" in await finding(database)


async def test_texts_that_were_put_back_and_a_redaction_that_was_removed_are_found(
    database: Database, story: Story
) -> None:
    sequence, ledger = story.posted.sequence, story.books.ledger
    recorded_at = await story.connection.fetchval("select recorded_at from ledger_heads")
    payload, texts = (await story.records())[sequence - 1]
    redaction = await redact(database, story.connection, now, ledger, [sequence << 10], "asked for")
    assert await findings(database) == []
    await story.tamper("set session_replication_role = replica")
    await story.set_record(sequence, payload, texts)
    says = f"record {redaction}: the texts of record {sequence} are said to be erased, and are not"
    assert says in await finding(database)
    await story.set_record(sequence, payload, _without_own(texts))
    assert await findings(database) == []
    await story.tamper(f"delete from log where sequence = {redaction}")
    await story.connection.execute("update ledger_heads set recorded_at = $1", recorded_at)
    await story.set_tree()
    says = f"record {sequence}: the texts of record {sequence} are gone, and no redaction says so"
    assert says in await finding(database)


async def test_a_redaction_that_erased_nothing_is_found(database: Database, story: Story) -> None:
    sequence, account = story.posted.sequence, story.accounts[0].sequence
    records = await story.records()
    redaction = await redact(database, story.connection, now, story.books.ledger, [sequence << 10], "asked for")
    more = _changed((await story.records())[-1], erased=[account << 10, sequence << 10])
    await story.tamper("set session_replication_role = replica")
    await story.set_record(redaction, *more)
    says = f"record {redaction}: the texts of record {account} are said to be erased, and are not"
    assert says in await finding(database)
    assert len(records) == redaction - 1


async def test_values_that_no_record_can_hold_are_found_and_other_ledgers_are_verified(
    database: Database, story: Story
) -> None:
    after = await Books.begin(database)
    record = (await story.records())[story.posted.sequence - 1]
    for fields in ({"recorded_at": 2**62}, {"recorded_at": -(2**63)}, {"effective_at": 2**62}):
        await story.set_record(story.posted.sequence, *_changed(record, **fields))
        told = [told async for _, told in verify(database, None, {}, Resumed())]
        assert f"record {story.posted.sequence}: " in str([each for each in told if isinstance(each, Finding)])
        assert None in told, f"ledger {after.ledger.id} holds"


async def test_a_text_that_is_none_is_found(database: Database, story: Story) -> None:
    payload, texts = (await story.records())[0]
    assert texts is not None
    await story.set_record(1, payload, texts.replace(b"Books", b"B\xffoks").replace(b"books", b"b\xffoks"))
    assert "record 1: its texts can't be read" in await finding(database)


async def test_what_only_the_hashes_know_is_found_by_them(database: Database, story: Story) -> None:
    """An older state of an account is in no table any more."""
    records = await story.records()
    sequence = story.posted.sequence
    await story.set_record(sequence, *_changed(records[sequence - 1], metadata={"order": "6"}))
    assert "is not what the head's root was made of" in await finding(database)


@pytest.mark.parametrize("column", ["object_sequence", "kind", "event"])
async def test_a_changed_column_of_the_log_is_found(database: Database, story: Story, column: str) -> None:
    await story.tamper(f"update log set {column} = 2 where sequence = {{posted}}")
    told = await finding(database)
    assert f"record {story.posted.sequence}: its {column}" in told


async def test_a_removed_record_is_found(database: Database, story: Story) -> None:
    await story.tamper("delete from log where sequence = {posted}")
    sequence = story.posted.sequence
    assert f"record {sequence}: in its place stands record {sequence + 1}" in await finding(database)


async def test_two_swapped_records_are_found(database: Database, story: Story) -> None:
    records = await story.records()
    first = story.posted.sequence
    await story.set_record(first, *records[first])
    await story.set_record(first + 1, *records[first - 1])
    assert f"record {first}: in its place stands record {first + 1}" in await finding(database)


async def test_an_inserted_record_is_found(database: Database, story: Story) -> None:
    records = await story.records()
    size = len(records)
    await story.connection.execute(
        "insert into log select ledger_id, sequence + 1, object_sequence, recorded_at, kind, event, $1, $2 "
        "from log where sequence = $3",
        *_changed(records[-1], sequence=size + 1), size,
    )  # fmt: skip
    assert f"record {size + 1}: is the last one, and the head says that record {size} is" in await finding(database)


async def test_newest_records_that_were_cut_off_are_found(database: Database, story: Story) -> None:
    """The head is moved back and its tree made anew, but not all that the records wrote is undone."""
    size = len(await story.records())
    await story.tamper(f"delete from log where sequence > {size - 4}")
    assert story.entry(story.posted, 1) in await finding(database)
    await story.set_tree()
    assert story.entry(story.posted, 1) in await finding(database)


async def test_a_history_that_was_rewritten_whole_is_found_by_who_holds_a_checkpoint(
    database: Database, story: Story
) -> None:
    records = await story.records()
    root = root_of(leaf_hash(payload) for payload, _ in records)
    kept = story.books.ledger.id, Checkpoint(f"doppia/{story.books.ledger.id}", len(records), root)
    assert await findings(database, kept) == []
    account = story.accounts[0].sequence
    await story.set_record(account, *_changed(records[account - 1], name="mine"))
    await story.tamper(f"update accounts set name = 'mine' where account_sequence = {account}")
    await story.set_tree()
    assert await findings(database) == []
    assert f"its first {len(records)} records are not those of the checkpoint" in await finding(database, kept)


async def test_a_log_that_lost_its_end_is_found_by_who_holds_a_checkpoint(database: Database, story: Story) -> None:
    """The last record annotated an entry; all of it is undone."""
    records = await story.records()
    root = root_of(leaf_hash(payload) for payload, _ in records)
    kept, size = (story.books.ledger.id, Checkpoint("x", len(records), root)), len(records)
    before = await story.connection.fetchval("select recorded_at from log where sequence = $1", size - 1)
    written = await story.connection.fetchval("select recorded_at from log where sequence = $1", story.posted.sequence)
    await story.tamper(f"delete from log where sequence = {size}")
    await story.connection.execute("update ledger_heads set recorded_at = $1", before)
    await story.connection.execute(
        "update entry_metadata set metadata = '{\"memo\": \"tea\"}', updated_at = $1 where entry = $2",
        written, story.posted.sequence * 1024 + 1,
    )  # fmt: skip
    await story.set_tree()
    assert await findings(database) == []
    assert f"it has {size - 1} records, and had {size}" in await finding(database, kept)


@pytest.mark.usefixtures("story")
async def test_a_ledger_that_was_removed_is_found_by_who_holds_a_checkpoint(database: Database) -> None:
    gone = "65a1b2c3-0000-8000-8400-000000000400"
    assert f"ledger {gone}: there is a checkpoint of it" in await finding(database, (gone, Checkpoint("x", 1, b"")))


async def test_a_verification_goes_on_where_one_ended_and_knows_when_the_beginning_changed(
    database: Database, story: Story
) -> None:
    resumed = Resumed()
    async for verification, _ in verify(database, None, {}, resumed):
        assert verification is not None
        kept = json.dumps(resumed.plain(verification.state, verification.keep()))
        break
    records = await story.records()
    size = len(records)
    await _do(database, story.books.create(move(story.accounts[0], story.accounts[1], 3)))
    told = [told async for _, told in verify(database, None, {}, Resumed(json.loads(kept)))]
    assert told[-1] is None
    assert [step.entries for step in told if not isinstance(step, Finding) and step is not None][-1] > 0
    await story.set_record(2, *_changed(records[1], name="mine"))
    found = [
        each async for _, each in verify(database, None, {}, Resumed(json.loads(kept))) if isinstance(each, Finding)
    ]
    assert f"does not begin with the {size} records" in str(found[0])


async def test_buckets_of_time_that_were_changed_are_found(database: Database, story: Story) -> None:
    one, two = story.accounts[:2]
    drafts = [Draft(move(one, two, 1), "posted") for _ in range(600)]
    [results] = await post(database, now, [story.books.batch(drafts)])
    assert [each.status for each in results] == ["posted"] * 600
    assert await findings(database) == []
    await story.tamper("update effective_sums set posted_debits = posted_debits + 1 where width_shift = 52")
    assert f"account {one}: what its entries effective from" in await finding(database)
    await story.tamper("delete from effective_sums")
    assert f"account {one}: what its entries effective from" in await finding(database)
