"""Settlements over HTTP: every route, every status, and how they are found."""

from datetime import UTC, datetime

import httpx2
import pytest

from doppia.engine.closing import settlements, settling
from doppia.engine.closing.settling import work_off
from tests.api.closing.settlements_over_http import PATH, amounts, change, pick, settle
from tests.api.over_http import Books, Json, Refusal, entry, ids, now, pair, refusal

pytestmark = pytest.mark.anyio

NOBODY = "65a1b2c3-0000-8000-8400-000000000400"


async def test_a_sweep_settles_what_is_posted_and_its_transaction_follows_it(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = [await books.transfer(cash, wallet, 100), await books.transfer(wallet, cash, 30)]
    await books.transfer(cash, wallet, 1000, "pending")

    swept = await settle(books, wallet, cash, description="March", metadata={"run": "7", "b": ""})

    assert swept == {
        "id": swept["id"], "object": "ledger_account_settlement", "live_mode": True,
        "created_at": swept["created_at"], "updated_at": swept["created_at"], "ledger_id": wallet["ledger_id"],
        "description": "March", "status": "pending", "settled_ledger_account_id": wallet["id"],
        "contra_ledger_account_id": cash["id"], "effective_at_upper_bound": swept["created_at"],
        "allow_either_direction": False, "skip_settlement_ledger_transaction": False,
        "ledger_transaction_id": swept["ledger_transaction_id"], "amount": 70, "amount_string": "70",
        "settlement_entry_direction": "debit", "currency": "PHP", "currency_exponent": 2, "metadata": {"run": "7"},
    }  # fmt: skip
    assert await books.read(f"{PATH}/{swept['id']}") == swept
    moved = await books.read(f"/ledger_transactions/{swept['ledger_transaction_id']}")
    assert (moved["status"], moved["description"]) == ("pending", "March")
    assert [(each["ledger_account_id"], each["direction"], each["amount"]) for each in moved["ledger_entries"]] == [
        (wallet["id"], "debit", 70), (cash["id"], "credit", 70),
    ]  # fmt: skip
    entries = await books.read(f"/ledger_entries?ledger_account_settlement_id={swept['id']}")
    assert ids(entries) == [made[1]["ledger_entries"][0]["id"], made[0]["ledger_entries"][1]["id"]]
    transactions = await books.read(f"/ledger_transactions?ledger_account_settlement_id={swept['id']}")
    assert ids(transactions) == [made[1]["id"], made[0]["id"]]

    posted = await change(books, swept, status="posted", metadata={"run": None, "by": "Ana"})

    assert amounts(posted) == ("posted", 70, "70", "debit")
    assert posted["metadata"] == {"by": "Ana"}
    assert (await books.balances(wallet))["posted"] == (100, 100, 0)
    assert (await books.read(f"/ledger_transactions/{moved['id']}"))["status"] == "posted"


async def test_the_events_of_a_settlement_tell_its_life(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    await books.transfer(cash, wallet, 100)
    swept = await settle(books, wallet, cash)
    await change(books, swept, status="archived")

    events = await books.read(f"/events?entity_id={swept['id']}")

    told = [(each["event_name"], each["data"]["status"], each["data"]["amount"]) for each in reversed(events)]
    assert told == [
        ("created", "processing", None), ("updated", "processing", None), ("finish_processing", "pending", 100),
        ("finish_archiving", "archived", 100),
    ]  # fmt: skip
    assert events[0]["data"] == await books.read(f"{PATH}/{swept['id']}")


async def test_entries_of_a_settlement_are_read_page_by_page_in_every_order(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    days = [datetime(2026, 1, day, tzinfo=UTC).isoformat() for day in (3, 1, 5, 2, 4)]
    made = [await books.transfer(cash, wallet, 1, effective_at=day) for day in days]
    swept = await settle(books, wallet, cash)
    await books.transfer(cash, wallet, 1)
    filter_ = f"?ledger_account_settlement_id={swept['id']}&per_page=2"

    def found(pages: list[list[Json]]) -> list[str]:
        assert [len(page) for page in pages] == [2, 2, 1]
        return ids([row for page in pages for row in page])

    own = [each["ledger_entries"][1]["id"] for each in made]
    assert found(await books.pages(f"/ledger_entries{filter_}")) == own[::-1]
    assert found(await books.pages(f"/ledger_entries{filter_}&order_by[created_at]=asc")) == own
    by_time = [own[position] for position in (1, 3, 0, 4, 2)]
    assert found(await books.pages(f"/ledger_entries{filter_}&order_by[effective_at]=asc")) == by_time
    assert found(await books.pages(f"/ledger_entries{filter_}&order_by[effective_at]=desc")) == by_time[::-1]
    assert found(await books.pages(f"/ledger_transactions{filter_}")) == ids(made[::-1])


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three entries be a step."""
    for module in (settling, settlements):
        monkeypatch.setattr(module, "ENTRIES_AT_ONCE", 3)


@pytest.mark.usefixtures("small_steps")
async def test_a_large_one_is_processing_and_then_pending_archiving_and_then_archived(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    for _ in range(8):
        await books.transfer(cash, wallet, 1)

    swept = await settle(books, wallet, cash)
    assert amounts(swept) == ("processing", None, None, None)
    assert swept["ledger_transaction_id"] is None
    refused = await books.patch(f"{PATH}/{swept['id']}", {"status": "posted"})
    assert refusal(refused) == Refusal(422, "settlement_final", None)
    await work_off(books.service.engine.database, now)
    pending = await books.read(f"{PATH}/{swept['id']}")
    assert amounts(pending) == ("pending", 8, "8", "debit")
    own = f"/ledger_entries?ledger_account_settlement_id={swept['id']}"
    assert len(await books.read(own)) == 8

    assert amounts(await change(books, swept, status="archived")) == ("archiving", 8, "8", "debit")
    assert await books.read(own) == []
    assert await books.read(own.replace("entries", "transactions")) == []
    assert (await books.read(f"/ledger_transactions/{pending['ledger_transaction_id']}"))["status"] == "archived"
    assert (await change(books, swept, description="given up"))["status"] == "archiving"
    await work_off(books.service.engine.database, now)
    assert amounts(await books.read(f"{PATH}/{swept['id']}")) == ("archived", 8, "8", "debit")
    statuses = [each["data"]["status"] for each in await books.read(f"/events?entity_id={swept['id']}&per_page=100")]
    assert statuses[::-1] == ["processing"] * 4 + ["pending", "archiving", "archiving", "archived"]


async def test_more_than_a_thousand_entries_are_settled_after_the_answer(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    legs = [entry(cash, "debit", 999), *[entry(wallet, "credit", 1)] * 999]
    body = {"status": "posted", "ledger_entries": legs}
    for _ in range(2):
        assert (await books.post("/ledger_transactions", body)).status_code == 201

    swept = await settle(books, wallet, cash, status="posted")

    assert swept["status"] == "processing"
    await work_off(books.service.engine.database, now)
    assert amounts(await books.read(f"{PATH}/{swept['id']}")) == ("posted", 1998, "1998", "debit")


async def test_a_draft_is_filled_emptied_and_left(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    entries = [(await books.transfer(cash, wallet, amount))["ledger_entries"][1]["id"] for amount in (1, 2, 4)]
    draft = await settle(books, wallet, cash, status="drafting", effective_at_upper_bound="2020-01-01T00:00:00Z")
    assert amounts(draft) == ("drafting", None, None, None)
    assert draft["effective_at_upper_bound"] is None

    for method, picked in (("PATCH", entries), ("DELETE", entries[1:2]), ("PATCH", []), ("DELETE", None)):
        answer = await pick(books, method, draft, picked)
        assert (answer.status_code, answer.content) == (200, b"")
        assert "content-type" not in answer.headers

    assert ids(await books.read(f"/ledger_entries?ledger_account_settlement_id={draft['id']}")) == [
        entries[2],
        entries[0],
    ]
    changed = await change(books, draft, skip_settlement_ledger_transaction=True)
    assert changed["skip_settlement_ledger_transaction"]
    posted = await change(books, draft, status="posted", skip_settlement_ledger_transaction=None)
    assert amounts(posted) == ("posted", 5, "5", "debit")
    assert posted["ledger_transaction_id"] is not None


@pytest.mark.parametrize("status", ["pending", "posted", "archived"])
async def test_a_draft_becomes_what_it_is_told_to(books: Books, status: str) -> None:
    cash, wallet = await books.cash_and_wallet()
    draft = await settle(books, wallet, cash, status="drafting")
    assert (await change(books, draft, status=status))["status"] == status


async def test_nothing_to_settle_comes_to_0_without_a_transaction(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    empty = await settle(books, wallet, cash, status="posted")
    assert amounts(empty) == ("posted", 0, "0", None)
    assert empty["ledger_transaction_id"] is None


async def test_amounts_beyond_10_to_36_are_exact(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    largest = 10**36
    for _ in range(2):
        await books.transfer(cash, wallet, largest)
    await books.transfer(cash, wallet, 7)

    swept = await settle(books, wallet, cash, status="posted")

    assert amounts(swept) == ("posted", 2 * largest + 7, str(2 * largest + 7), "debit")
    assert await books.read(f"{PATH}/{swept['id']}") == swept
    assert (await books.balances(wallet))["posted"][2] == 0


async def test_a_negative_balance_is_settled_towards_zero_where_either_direction_is_allowed(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    await books.transfer(wallet, cash, 10**36)
    body = {"settled_ledger_account_id": wallet["id"], "contra_ledger_account_id": cash["id"]}
    before = await books.state()

    refused = await books.post(PATH, body)

    assert refusal(refused) == Refusal(422, "settlement_negative", None)
    assert refused.json()["errors"]["refusal"]["amount"] == -(10**36)
    assert await books.state() == before
    swept = await settle(books, wallet, cash, allow_either_direction=True)
    assert amounts(swept) == ("pending", 10**36, str(10**36), "credit")


async def test_settlements_are_found_by_each_filter(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    other = await books.account({"id": wallet["ledger_id"]}, "credit")
    elsewhere = await books.cash_and_wallet()
    await books.transfer(cash, wallet, 5)
    made = [
        await settle(books, wallet, cash, metadata={"run": "1"}),
        await settle(books, cash, wallet, status="posted", metadata={"run": "2"}),
        await settle(books, other, cash, status="drafting"),
        await settle(books, elsewhere[1], elsewhere[0], metadata={"run": "1"}),
    ]
    await change(books, made[0], description="changed")
    await change(books, made[3], status="posted")
    at = made[1]["created_at"]

    for query, expected in (
        ("", [3, 2, 1, 0]), (f"id[]={made[0]['id']}&id[]={made[3]['id']}", [3, 0]), (f"id={made[1]['id']}", [1]),
        (f"ledger_id={wallet['ledger_id']}", [2, 1, 0]), (f"settled_ledger_account_id={wallet['id']}", [0]),
        (f"ledger_transaction_id={made[1]['ledger_transaction_id']}", [1]), (f"ledger_transaction_id={NOBODY}", []),
        ("settlement_entry_direction=debit", [0]), ("settlement_entry_direction=credit", [1]),
        ("status=posted&status=drafting", [3, 2, 1]), ("status[]=pending", [0]), ("status=archived", []),
        (f"created_at[lte]={at}", [1, 0]), (f"created_at[gt]={at}", [3, 2]), (f"updated_at[gt]={at}", [3, 2, 0]),
        ("metadata[run]=1", [3, 0]), (f"metadata[run]=1&ledger_id={wallet['ledger_id']}", [0]),
    ):  # fmt: skip
        assert ids(await books.read(f"{PATH}?{query}")) == [made[position]["id"] for position in expected], query
    assert [len(page) for page in await books.pages(f"{PATH}?per_page=3")] == [3, 1]


async def test_what_settling_does_to_a_balance_triggers_its_monitors(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    await books.transfer(cash, wallet, 100)
    condition = {"field": "posted_balance_amount", "operator": "equals", "value": 0}
    monitor = {"ledger_account_id": wallet["id"], "alert_condition": condition}
    made = (await books.post("/ledger_account_balance_monitors", monitor)).json()

    await settle(books, wallet, cash, status="posted")

    events = await books.read(f"/events?entity_id={made['id']}")
    assert [each["event_name"] for each in events] == ["triggered", "created"]


async def test_the_transaction_of_a_settlement_is_described_and_not_changed_by_others(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    await books.transfer(cash, wallet, 100)
    swept = await settle(books, wallet, cash)
    path = f"/ledger_transactions/{swept['ledger_transaction_id']}"

    assert (await books.patch(path, {"description": "d", "metadata": {"a": "b"}})).status_code == 200
    for fields in ({"status": "posted"}, {"status": "archived"}, {"ledger_entries": pair(wallet, cash, 5)}):
        refused = await books.patch(path, fields)
        assert refusal(refused)[:2] == (422, "transaction_of_settlement")
        assert refused.json()["errors"]["refusal"]["ledger_account_settlement_id"] == swept["id"]
    assert amounts(await change(books, swept, status="posted")) == ("posted", 100, "100", "debit")


async def test_a_key_settles_changes_and_picks_once(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    entry = (await books.transfer(cash, wallet))["ledger_entries"][1]["id"]
    body = {"settled_ledger_account_id": wallet["id"], "contra_ledger_account_id": cash["id"], "status": "drafting"}
    draft = (await books.post(PATH, body, "create")).json()

    async def both() -> list[httpx2.Response]:
        return [
            await books.post(PATH, body, "create"), await pick(books, "PATCH", draft, [entry], "add"),
            await pick(books, "DELETE", draft, [entry], "remove"),
            await books.patch(f"{PATH}/{draft['id']}", {"status": "posted"}, "post"),
        ]  # fmt: skip

    first = await both()
    assert [answer.status_code for answer in first] == [201, 200, 200, 200]
    before = await books.state()
    assert [answer.content for answer in await both()] == [answer.content for answer in first]
    assert await books.state() == before
    for reused in (
        await books.post(PATH, {**body, "status": "pending"}, "create"), await pick(books, "PATCH", draft, [], "add"),
        await pick(books, "DELETE", draft, [], "remove"),
        await books.patch(f"{PATH}/{draft['id']}", {"status": "archived"}, "post"),
    ):  # fmt: skip
        assert refusal(reused) == Refusal(422, "idempotency_key_reused", None)
