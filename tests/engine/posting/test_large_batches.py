"""Large batches: recorded in pieces that are one whole, in turns that leave the event loop to others."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from doppia.accounting.errors import LedgerError, TooFewEntries
from doppia.accounting.ledger.transactions import Draft
from doppia.engine.ledger.monitors import CreateMonitor
from doppia.engine.posting import turns
from doppia.engine.posting.commands import Asked
from doppia.engine.posting.group import post
from doppia.engine.posting.replays import replay
from doppia.engine.posting.writing import NOBODY
from doppia.store.database.connections import Database
from doppia.store.ledger.ledgers import ConsumedKey
from doppia.store.posting import groups
from tests.engine.bookkeeping import Books, code, comparable, id_of, key, move, now
from tests.store.invariants import assert_invariants

pytestmark = pytest.mark.anyio


async def answers(database: Database, commands: list[Asked]) -> list[Any]:
    told = await post(database, now, commands)
    assert not any(isinstance(one, (Exception, ConsumedKey)) for one in told), told
    return told


@pytest.mark.parametrize("entries_at_once", [1, 3, 7, 1000], ids=lambda number: f"{number} entries")
async def test_the_pieces_of_a_group_record_what_it_would_record_whole(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, entries_at_once: int
) -> None:
    books = await Books.begin(database)
    cash, wallet = await books.open(), await books.open()
    # It is crossed amid the batch, and so puts records among those of the transactions.
    monitor = CreateMonitor(
        ledger=books.ledger,
        account=wallet,
        monitored="posted_balance_amount",
        operator="greater_than_or_equals",
        value=6,
    )
    await books.engine.perform(NOBODY, monitor)
    [held] = await answers(database, [books.create(move(cash, wallet, 10), "pending")])
    monkeypatch.setattr(groups, "ENTRIES_AT_ONCE", entries_at_once)
    items: list[Draft | LedgerError] = [
        Draft(move(cash, wallet, 1), "posted", external_id="a"),
        TooFewEntries(),
        Draft(move(cash, wallet, 2), "pending", metadata={"k": "v"}),
        Draft(move(cash, wallet, 3), "archived"),
        Draft(move(cash, wallet, 4), "posted", external_id="a"),
        Draft(move(cash, wallet, 5), "posted"),
        Draft(move(wallet, cash, 6), "posted"),
    ]
    consumed = key("k", "batch")
    batch = books.batch(items, key=consumed)
    part = books.partial_post(id_of(held.id), move(cash, wallet, 4))
    commands = [books.create(move(cash, wallet, 1)), batch, part, books.create(move(cash, wallet, 1))]

    told = await answers(database, commands)

    codes = [code(one) if isinstance(one, LedgerError) else one.status for one in told[1]]
    assert codes == ["posted", "too_few_entries", "pending", "archived", "external_id_taken", "posted", "posted"]
    # Credited 1, 1, 5, 4 and 1, debited 6; held are 2 and 6.
    assert tuple((await books.account(wallet)).sums) == (12, 6, 8, 0)
    [repeated] = await post(database, now, [batch])
    assert isinstance(repeated, ConsumedKey)
    assert comparable(await replay(database, batch.command, repeated)) == comparable(told[1])
    await assert_invariants(database_url)


async def test_others_have_their_turns_while_a_batch_is_decided(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = await Books.begin(database)
    cash, wallet = await books.open(), await books.open()
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.0)
    turn = 0

    async def others() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    taken: list[int] = []

    class Watched(list[Draft | LedgerError]):
        """Drafts that note in which turn of the event loop each is taken."""

        def __iter__(self) -> Iterator[Draft | LedgerError]:
            for draft in super().__iter__():
                taken.append(turn)
                yield draft

    task = asyncio.create_task(others())
    drafts = Watched(Draft(move(cash, wallet, 1), "posted") for _ in range(20))
    await answers(database, [books.batch(drafts)])
    task.cancel()

    # They are taken twice: to see what they need, at once, and to be decided.
    assert sorted(set(taken[20:])) == taken[20:]
    assert len(taken) == 40
