"""Settlements over HTTP: every route, every status, what is refused, and how they are found."""

from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from over_http import Books, Json, Refusal, ids, now, pair, refusal

from doppia.engine import settlements, settling
from doppia.engine.settling import work_off

pytestmark = pytest.mark.anyio

PATH = "/ledger_account_settlements"
NOBODY = "65a1b2c3-0000-8000-8400-000000000400"


async def settle(books: Books, settled: Json, contra: Json, **fields: Any) -> Json:
    body = {"settled_ledger_account_id": settled["id"], "contra_ledger_account_id": contra["id"], **fields}
    answer = await books.post(PATH, body)
    assert answer.status_code == 201, answer.text
    made: Json = answer.json()
    return made


async def change(books: Books, settlement: Json, **fields: Any) -> Json:
    answer = await books.patch(f"{PATH}/{settlement['id']}", fields)
    assert answer.status_code == 200, answer.text
    changed: Json = answer.json()
    return changed


async def pick(books: Books, method: str, settlement: Json, entries: Any, key: str | None = None) -> httpx2.Response:
    path = f"/api{PATH}/{settlement['id']}/ledger_entries"
    headers = {"Idempotency-Key": key} if key else {}
    return await books.client.request(method, path, json={"ledger_entry_ids": entries}, headers=headers)


def amounts(settlement: Json) -> tuple[str, int | None, str | None, str | None]:
    return (
        settlement["status"], settlement["amount"], settlement["amount_string"],
        settlement["settlement_entry_direction"],
    )  # fmt: skip


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
    await work_off(books.service.database, now)
    pending = await books.read(f"{PATH}/{swept['id']}")
    assert amounts(pending) == ("pending", 8, "8", "debit")
    own = f"/ledger_entries?ledger_account_settlement_id={swept['id']}"
    assert len(await books.read(own)) == 8

    assert amounts(await change(books, swept, status="archived")) == ("archiving", 8, "8", "debit")
    assert await books.read(own) == []
    assert await books.read(own.replace("entries", "transactions")) == []
    assert (await books.read(f"/ledger_transactions/{pending['ledger_transaction_id']}"))["status"] == "archived"
    assert (await change(books, swept, description="given up"))["status"] == "archiving"
    await work_off(books.service.database, now)
    assert amounts(await books.read(f"{PATH}/{swept['id']}")) == ("archived", 8, "8", "debit")
    statuses = [each["data"]["status"] for each in await books.read(f"/events?entity_id={swept['id']}&per_page=100")]
    assert statuses[::-1] == ["processing"] * 4 + ["pending", "archiving", "archiving", "archived"]


async def test_the_service_itself_goes_on_with_what_it_answered_as_processing(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    legs = [{"ledger_account_id": wallet["id"], "direction": "credit", "amount": 1}] * 999
    body = {"status": "posted", "ledger_entries": [*legs, {**legs[0], "ledger_account_id": cash["id"], "direction": "debit", "amount": 999}]}  # fmt: skip  # noqa: E501
    for _ in range(2):
        assert (await books.post("/ledger_transactions", body)).status_code == 201

    swept = await settle(books, wallet, cash, status="posted")

    assert swept["status"] == "processing"
    await work_off(books.service.database, now)
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
    at = {name: made[1][name].replace("+", "%2B") for name in ("created_at",)}["created_at"]

    for query, expected in (
        ("", [3, 2, 1, 0]), (f"id[]={made[0]['id']}&id[]={made[3]['id']}", [3, 0]), (f"id={made[1]['id']}", [1]),
        (f"ledger_id={wallet['ledger_id']}", [2, 1, 0]), (f"settled_ledger_account_id={wallet['id']}", [0]),
        (f"ledger_transaction_id={made[1]['ledger_transaction_id']}", [1]), (f"ledger_transaction_id={NOBODY}", []),
        ("settlement_entry_direction=debit", [0]), ("settlement_entry_direction=credit", [1]),
        ("status=posted&status=drafting", [3, 2, 1]), ("status[]=pending", [0]), ("status=archived", []),
        (f"created_at[lte]={at}", [1, 0]), (f"created_at[gt]={at}", [3, 2]), (f"updated_at[gt]={at}", [3, 2, 0]),
        ("metadata[run]=1", [3, 0]), (f"metadata[run]=1&ledger_id={wallet['ledger_id']}", [0]),
    ):  # fmt: skip
        if "posted&" in query:
            await change(books, made[3], status="posted")
        assert ids(await books.read(f"{PATH}?{query}")) == [made[position]["id"] for position in expected], query
    assert [len(page) for page in await books.pages(f"{PATH}?per_page=3")] == [3, 1]


BAD_SHAPES: list[tuple[Json, str, str | None]] = [
    ({"settled_ledger_account_id": ...}, "parameter_missing", "settled_ledger_account_id"),
    ({"contra_ledger_account_id": ...}, "parameter_missing", "contra_ledger_account_id"),
    ({"settled_ledger_account_id": None}, "parameter_invalid", "settled_ledger_account_id"),
    ({"settled_ledger_account_id": 7}, "parameter_invalid", "settled_ledger_account_id"),
    ({"settled_ledger_account_id": "x"}, "object_not_found", "settled_ledger_account_id"),
    ({"contra_ledger_account_id": NOBODY}, "object_not_found", "contra_ledger_account_id"),
    ({"status": "archived"}, "parameter_invalid", "status"),
    ({"status": "processing"}, "parameter_invalid", "status"),
    ({"status": 1}, "parameter_invalid", "status"),
    ({"effective_at_upper_bound": "yesterday"}, "parameter_invalid", "effective_at_upper_bound"),
    ({"effective_at_upper_bound": "0001-01-01T00:00:00Z"}, "parameter_invalid", "effective_at_upper_bound"),
    ({"effective_at_upper_bound": 5}, "parameter_invalid", "effective_at_upper_bound"),
    ({"allow_either_direction": "yes"}, "parameter_invalid", "allow_either_direction"),
    ({"skip_settlement_ledger_transaction": 1}, "parameter_invalid", "skip_settlement_ledger_transaction"),
    ({"description": "x" * 1001}, "parameter_invalid", "description"),
    ({"description": "a\0b"}, "invalid_text", "description"),
    ({"metadata": {"a": 1}}, "parameter_invalid", "metadata[...]"),
    ({"metadata": {"a": "x" * 1001}}, "metadata_too_large", "metadata.a"),
    ({"metadata": {"a\0": "x"}}, "invalid_text", "metadata"),
    ({"amount": 5}, "parameter_unknown", "amount"),
    ({"ledger_id": NOBODY}, "parameter_unknown", "ledger_id"),
]


@pytest.mark.parametrize(("fields", "code", "parameter"), BAD_SHAPES, ids=range(len(BAD_SHAPES)))
async def test_a_settlement_out_of_shape_is_refused(
    books: Books, fields: Json, code: str, parameter: str | None
) -> None:
    cash, wallet = await books.cash_and_wallet()
    good = {"settled_ledger_account_id": wallet["id"], "contra_ledger_account_id": cash["id"]}
    body = {name: value for name, value in {**good, **fields}.items() if value is not ...}
    before = await books.state()

    answer = await books.post(PATH, body)

    assert refusal(answer)[1:] == (code, parameter)
    assert answer.status_code in {404, 422}
    assert await books.state() == before


async def test_two_accounts_that_can_not_be_settled_are_refused(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    ledger = {"id": wallet["ledger_id"]}
    points = await books.account(ledger, currency="PTS", currency_exponent=0)
    closed = await books.account(ledger)
    await books.delete(f"/ledger_accounts/{closed['id']}")
    elsewhere, _ = await books.cash_and_wallet()
    transfer = await books.transfer(cash, wallet)
    before = await books.state()

    for settled, contra, code, parameter in (
        (wallet, wallet, "parameter_invalid", "contra_ledger_account_id"),
        (wallet, points, "parameter_invalid", "contra_ledger_account_id"),
        (wallet, elsewhere, "mixed_ledgers", "contra_ledger_account_id"),
        (wallet, closed, "account_discarded", "contra_ledger_account_id"),
        (closed, wallet, "account_discarded", "settled_ledger_account_id"),
        (wallet, ledger, "object_not_found", "contra_ledger_account_id"),
        (transfer, wallet, "object_not_found", "settled_ledger_account_id"),
    ):
        body = {"settled_ledger_account_id": settled["id"], "contra_ledger_account_id": contra["id"]}
        assert refusal(await books.post(PATH, body))[1:] == (code, parameter)
    assert await books.state() == before


@pytest.mark.parametrize(
    ("fields", "code", "parameter"),
    [
        ({"status": "processing"}, "parameter_invalid", "status"),
        ({"status": "drafting"}, "parameter_invalid", "status"),
        ({"status": None}, "parameter_invalid", "status"),
        ({"skip_settlement_ledger_transaction": "no"}, "parameter_invalid", "skip_settlement_ledger_transaction"),
        ({"skip_settlement_ledger_transaction": True}, "settlement_final", None),
        ({"description": 5}, "parameter_invalid", "description"),
        ({"metadata": {"": "x"}}, "metadata_too_large", "metadata"),
        ({"amount": 5}, "parameter_unknown", "amount"),
        ({"allow_either_direction": True}, "parameter_unknown", "allow_either_direction"),
    ],
    ids=str,
)
async def test_a_change_out_of_shape_is_refused(books: Books, fields: Json, code: str, parameter: str | None) -> None:
    cash, wallet = await books.cash_and_wallet()
    swept = await settle(books, wallet, cash)
    before = await books.state()
    assert refusal(await books.patch(f"{PATH}/{swept['id']}", fields)) == Refusal(422, code, parameter)
    assert await books.state() == before


async def test_a_status_that_can_not_be_is_refused(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    await books.transfer(cash, wallet)
    moved = await settle(books, wallet, cash, status="posted")
    given_up = await change(books, await settle(books, wallet, cash), status="archived")
    before = await books.state()
    for settlement, status in ((moved, "pending"), (moved, "archived"), (given_up, "posted"), (given_up, "pending")):
        refused = await books.patch(f"{PATH}/{settlement['id']}", {"status": status})
        assert refusal(refused) == Refusal(422, "settlement_final", None)
    assert await books.state() == before
    assert (await change(books, moved, status="posted", description="d"))["description"] == "d"
    assert (await change(books, given_up, status="archived"))["status"] == "archived"


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_picking_out_of_shape_is_refused(books: Books, method: str) -> None:
    cash, wallet = await books.cash_and_wallet()
    entry = (await books.transfer(cash, wallet))["ledger_entries"][1]["id"]
    draft, swept = await settle(books, wallet, cash, status="drafting"), await settle(books, wallet, cash)
    before = await books.state()
    first = "ledger_entry_ids[0]"
    for target, picked, expected in (
        (draft, "x", Refusal(422, "parameter_invalid", "ledger_entry_ids")),
        (draft, [5], Refusal(422, "parameter_invalid", "ledger_entry_ids[...]")),
        (draft, [entry] * 10_001, Refusal(422, "parameter_invalid", "ledger_entry_ids")),
        (draft, ["x"], Refusal(404, "object_not_found", first)),
        (draft, [wallet["id"]], Refusal(404, "object_not_found", first)),
        (draft, ["a\0"], Refusal(422, "invalid_text", first)),
        (swept, [entry], Refusal(422, "settlement_final", None)),
        ({"id": NOBODY}, [entry], Refusal(404, "object_not_found", None)),
        (wallet, [entry], Refusal(404, "object_not_found", None)),
    ):
        assert refusal(await pick(books, method, target, picked)) == expected
    path = f"/api{PATH}/{draft['id']}/ledger_entries"
    assert refusal(await books.client.request(method, path, json={}))[1:] == ("parameter_missing", "ledger_entry_ids")
    unknown = {"ledger_entry_ids": [], "status": "posted"}
    assert refusal(await books.client.request(method, path, json=unknown))[1:] == ("parameter_unknown", "status")
    assert refusal(await books.client.request(method, path, content=b"[]")).status == 415
    assert await books.state() == before


async def test_an_entry_that_can_not_be_picked_is_named(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    theirs = (await books.transfer(*await books.cash_and_wallet()))["ledger_entries"][1]["id"]
    made = await books.transfer(cash, wallet)
    holder = await settle(books, wallet, cash, status="drafting")
    await pick(books, "PATCH", holder, [made["ledger_entries"][1]["id"]])
    held = (await books.transfer(cash, wallet, 1, "pending"))["ledger_entries"][1]["id"]
    draft = await settle(books, wallet, cash, status="drafting")
    before = await books.state()

    for entry, code in (
        (made["ledger_entries"][0]["id"], "entry_not_settleable"), (theirs, "entry_not_settleable"),
        (held, "entry_not_settleable"), (made["ledger_entries"][1]["id"], "entry_settled"),
    ):  # fmt: skip
        refused = await pick(books, "PATCH", draft, [entry])
        assert refusal(refused) == Refusal(422, code, "ledger_entry_ids[0]")
        assert refused.json()["errors"]["refusal"]["ledger_entry_id"] == entry
    assert refused.json()["errors"]["refusal"]["ledger_account_settlement_id"] == holder["id"]
    assert (await pick(books, "DELETE", draft, [theirs, made["ledger_entries"][1]["id"]])).status_code == 200
    assert await books.state() == before


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


async def test_what_is_anothers_is_answered_like_what_is_not_there(books: Books, others: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    their_cash, their_wallet = await others.cash_and_wallet()
    their_entry = (await others.transfer(their_cash, their_wallet))["ledger_entries"][1]["id"]
    theirs = await settle(others, their_wallet, their_cash)
    draft = await settle(books, wallet, cash, status="drafting")
    before = await books.state()

    for answer in (
        await books.get(f"{PATH}/{theirs['id']}"), await books.patch(f"{PATH}/{theirs['id']}", {"status": "posted"}),
        await pick(books, "PATCH", theirs, []), await pick(books, "DELETE", theirs, []),
    ):  # fmt: skip
        assert refusal(answer) == Refusal(404, "object_not_found", None)
    for method in ("PATCH", "DELETE"):
        expected = Refusal(404, "object_not_found", "ledger_entry_ids[0]")
        assert refusal(await pick(books, method, draft, [their_entry])) == expected
    for name, account in (("settled", their_wallet), ("contra", their_cash)):
        body = {"settled_ledger_account_id": wallet["id"], "contra_ledger_account_id": cash["id"]}
        answer = await books.post(PATH, {**body, f"{name}_ledger_account_id": account["id"]})
        assert refusal(answer) == Refusal(404, "object_not_found", f"{name}_ledger_account_id")
    assert ids(await books.get(PATH)) == [draft["id"]]
    for list_ in (f"{PATH}?id[]={theirs['id']}", f"{PATH}?settled_ledger_account_id={their_wallet['id']}",
                  f"/ledger_entries?ledger_account_settlement_id={theirs['id']}",
                  f"/ledger_transactions?ledger_account_settlement_id={theirs['id']}"):  # fmt: skip
        assert await books.read(list_) == []
    assert await books.state() == before


async def test_a_read_key_reads_and_a_write_key_settles(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    body = {"settled_ledger_account_id": wallet["id"], "contra_ledger_account_id": cash["id"], "status": "drafting"}
    draft = await settle(books, wallet, cash, status="drafting")
    for role, statuses in (("read", [200, 200, 403, 403, 403, 403]), ("write", [200, 200, 201, 200, 200, 200])):
        auth = (str(books.organization_id), await books.key(role))
        path, picked = f"/api{PATH}/{draft['id']}", {"ledger_entry_ids": []}
        answers = [
            await books.client.get(f"/api{PATH}", auth=auth), await books.client.get(path, auth=auth),
            await books.client.post(f"/api{PATH}", json=body, auth=auth),
            await books.client.patch(path, json={}, auth=auth),
            await books.client.patch(f"{path}/ledger_entries", json=picked, auth=auth),
            await books.client.request("DELETE", f"{path}/ledger_entries", json=picked, auth=auth),
        ]  # fmt: skip
        assert [answer.status_code for answer in answers] == statuses


async def test_a_discarded_ledger_settles_nothing_more(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    draft = await settle(books, wallet, cash, status="drafting")
    entry = (await books.transfer(cash, wallet))["ledger_entries"][1]["id"]
    await books.delete(f"/ledgers/{wallet['ledger_id']}")
    before = await books.state()
    body = {"settled_ledger_account_id": wallet["id"], "contra_ledger_account_id": cash["id"]}

    for answer in (
        await books.post(PATH, body), await books.patch(f"{PATH}/{draft['id']}", {"status": "posted"}),
        await pick(books, "PATCH", draft, [entry]), await pick(books, "DELETE", draft, [entry]),
    ):  # fmt: skip
        assert refusal(answer) == Refusal(422, "ledger_discarded", None)
    assert await books.state() == before


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
