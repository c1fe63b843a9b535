"""The official client on what was: balances in time, account statements, versions, events."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from modern_treasury import AsyncModernTreasury

from tests.client.treasury_books import TreasuryBooks, legs, listed, open_books, transfer

pytestmark = pytest.mark.anyio

DAYS = [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
FOURTH = DAYS[2] + timedelta(days=1)


async def three_days(treasury: AsyncModernTreasury, books: TreasuryBooks) -> list[Any]:
    """Move 1, 20 and 300 on three days, the middle one last."""
    return [
        await transfer(treasury, books, amount, effective_at=DAYS[day]) for amount, day in ((1, 0), (300, 2), (20, 1))
    ]


IN_TIME: list[tuple[dict[str, Any], int]] = [
    ({"effective_at": DAYS[1]}, 21),
    ({"effective_at": DAYS[1] - timedelta(microseconds=1)}, 1),
    ({"as_of_date": date(2024, 1, 2)}, 21),
    ({"effective_at_lower_bound": DAYS[1]}, 320),
    ({"effective_at_upper_bound": DAYS[1]}, 1),
    ({"effective_at_lower_bound": DAYS[1], "effective_at_upper_bound": DAYS[2]}, 20),
]


@pytest.mark.parametrize(("balances", "amount"), IN_TIME, ids=[", ".join(balances) for balances, _ in IN_TIME])
async def test_an_account_has_balances_in_time(treasury: AsyncModernTreasury, balances: Any, amount: int) -> None:
    books = await open_books(treasury)
    await three_days(treasury, books)
    found = (await treasury.ledger_accounts.retrieve(books.wallet.id, balances=balances)).balances
    assert found.posted_balance.amount == found.available_balance.amount == amount
    assert found.effective_at_lower_bound == balances.get("effective_at_lower_bound")
    assert found.effective_at_upper_bound == balances.get("effective_at_upper_bound")
    rows = (await treasury.ledger_accounts.list(balances=balances)).items
    assert [row.balances.posted_balance.amount for row in rows] == [amount, amount]


async def test_an_account_has_balances_as_of_a_lock_version(treasury: AsyncModernTreasury) -> None:
    books = await open_books(treasury)
    await three_days(treasury, books)
    amounts = []
    for version in range(4):
        found = await treasury.ledger_accounts.retrieve(books.wallet.id, balances={"as_of_lock_version": version})
        amounts.append(found.balances.posted_balance.amount)
    assert amounts == [0, 1, 301, 321]


async def test_parameters_of_our_own_are_sent_as_extra_ones(treasury: AsyncModernTreasury) -> None:
    books = await open_books(treasury)
    made = await three_days(treasury, books)
    then = {"balances[recorded_at]": made[1].created_at.isoformat()}
    found = await treasury.ledger_accounts.retrieve(books.wallet.id, extra_query=then)
    assert found.balances.posted_balance.amount == 301
    verified = (await treasury.ledger_accounts.retrieve(books.wallet.id, extra_query={"verify": "true"})).to_dict()
    assert verified["verified"]["holds"] is True  # type: ignore[index] # a field of ours


@pytest.mark.parametrize("name", ["pending_balance_amount", "posted_balance_amount", "available_balance_amount"])
async def test_accounts_are_listed_by_their_balances(treasury: AsyncModernTreasury, name: str) -> None:
    books = await open_books(treasury)
    await transfer(treasury, books, 20)
    empty = await treasury.ledger_accounts.create(
        name="empty", ledger_id=books.ledger.id, currency="PHP", normal_balance="credit"
    )
    full = [books.wallet.id, books.cash.id]
    for comparison, bound, expected in (
        ("gt", 0, full),
        ("gte", 20, full),
        ("eq", 20, full),
        ("not_eq", 20, [empty.id]),
        ("lte", 20, [empty.id, *full]),
        ("lt", 20, [empty.id]),
    ):
        filters: dict[str, Any] = {name: {comparison: bound}}
        assert await listed(treasury.ledger_accounts.list(**filters)) == expected, filters


async def test_a_statement_is_made_and_read_with_its_entries_and_versions(treasury: AsyncModernTreasury) -> None:
    books = await open_books(treasury)
    made = await three_days(treasury, books)
    statement = await treasury.ledger_account_statements.create(
        ledger_account_id=books.wallet.id, effective_at_lower_bound=DAYS[1], effective_at_upper_bound=FOURTH,
        description="d", metadata={"k": "v"},
    )  # fmt: skip
    assert (statement.object, statement.ledger_id) == ("ledger_account_statement", books.ledger.id)
    assert (statement.effective_at_lower_bound, statement.effective_at_upper_bound) == (DAYS[1], FOURTH)
    assert (statement.ledger_account_lock_version, statement.ledger_account_normal_balance) == (3, "credit")
    assert (statement.description, statement.metadata) == ("d", {"k": "v"})
    assert statement.starting_balance.posted_balance.amount == 1
    assert statement.ending_balance.posted_balance.amount == 321
    await transfer(treasury, books, 5000, effective_at=DAYS[1])
    await treasury.ledger_transactions.update(made[2].id, metadata={"later": "1"})
    again = await treasury.ledger_account_statements.retrieve(statement.id)
    assert again.to_dict() == statement.to_dict()
    entries = treasury.ledger_entries.list(ledger_account_statement_id=statement.id)
    assert set(await listed(entries)) == {made[1].ledger_entries[1].id, made[2].ledger_entries[1].id}
    versions = treasury.ledger_transactions.versions.list(ledger_account_statement_id=statement.id, per_page=1)
    found = [(version.ledger_transaction_id, version.version) async for version in versions]
    assert sorted(found) == sorted([(made[1].id, 0), (made[2].id, 0)])


async def test_the_versions_of_a_transaction_are_listed(treasury: AsyncModernTreasury) -> None:
    books = await open_books(treasury)
    held = await transfer(treasury, books, 10, status="pending", description="d", metadata={"k": "v"})
    await treasury.ledger_transactions.update(held.id, ledger_entries=legs(books, 20))
    posted = await treasury.ledger_transactions.update(held.id, status="posted", external_id="e")
    other = await transfer(treasury, books)
    pages = treasury.ledger_transactions.versions.list
    found = [version async for version in pages(ledger_transaction_id=held.id, per_page=2)]
    assert [(each.version, each.status, each.ledger_entries[0].amount) for each in found] == [
        (2, "posted", 20),
        (1, "pending", 20),
        (0, "pending", 10),
    ]
    assert {each.ledger_transaction_id for each in found} == {held.id}
    newest, _, first = found
    assert (newest.object, newest.external_id, first.external_id) == ("ledger_transaction_version", "e", None)
    assert (first.description, first.metadata, first.ledger_id) == ("d", {"k": "v"}, books.ledger.id)
    assert [entry.id for entry in newest.ledger_entries] == [entry.id for entry in posted.ledger_entries]
    everything = [other.id, held.id, held.id, held.id]
    assert [each.ledger_transaction_id async for each in pages(per_page=1)] == everything
    filters: dict[str, Any]
    for filters, expected in (
        ({"version": {"eq": 1}}, [1]),
        ({"version": {"gt": 0, "lte": 2}}, [2, 1]),
        ({"version": {"gte": 2}}, [2]),
        ({"version": {"lt": 1}}, [0]),
        ({"created_at": {"gt": first.created_at, "lte": newest.created_at}}, [2, 1]),
        ({"created_at": {"eq": first.created_at}}, [0]),
        ({"created_at": {"gte": newest.created_at}}, [2]),
        ({"created_at": {"lt": newest.created_at.replace(tzinfo=None)}}, [1, 0]),
    ):
        assert [each.version async for each in pages(ledger_transaction_id=held.id, **filters)] == expected, filters


async def test_events_are_listed_and_read(treasury: AsyncModernTreasury) -> None:
    books = await open_books(treasury)
    monitor = await treasury.ledger_account_balance_monitors.create(
        ledger_account_id=books.wallet.id,
        alert_condition={"field": "posted_balance_amount", "operator": "greater_than", "value": 0},
    )
    held = await transfer(treasury, books, status="pending")
    await treasury.ledger_transactions.update(held.id, status="posted")
    events = [event async for event in treasury.events.list(per_page=2)]
    told = [(event.resource, event.event_name, event.entity_id) for event in events]
    assert told == [
        ("ledger_account_balance_monitor", "triggered", monitor.id),
        ("ledger_transaction", "posted", held.id),
        ("ledger_transaction", "created", held.id),
        ("ledger_account_balance_monitor", "created", monitor.id),
        ("ledger_account", "created", books.wallet.id),
        ("ledger_account", "created", books.cash.id),
        ("ledger", "created", books.ledger.id),
    ]
    triggered, posted, created, *_ = events
    assert (created.object, created.data["id"], created.data["status"]) == ("event", held.id, "pending")
    assert posted.data["status"] == "posted"
    assert await treasury.events.retrieve(posted.id) == posted
    filters: dict[str, Any]
    for filters, expected in (
        ({"resource": "ledger_transaction"}, [posted, created]),
        ({"event_name": "triggered"}, [triggered]),
        ({"entity_id": held.id}, [posted, created]),
        ({"resource": "ledger_transaction", "event_name": "created"}, [created]),
        ({"event_time_start": posted.event_time}, [triggered, posted]),
        ({"event_time_start": created.event_time, "event_time_end": created.event_time}, [created]),
    ):
        found = await listed(treasury.events.list(**filters))
        assert found == [event.id for event in expected], filters
