"""Partial posts over HTTP: a part of a hold becomes a posted transaction, the rest stays held."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.over_http import Books, Json, Refusal, entry, ids, pair, refusal

pytestmark = pytest.mark.anyio

LARGEST = 10**36


def path(hold: Json) -> str:
    return f"/ledger_transactions/{hold['id']}/partial_post"


def part(*legs: Json, **fields: Any) -> Json:
    return {"posted_ledger_entries": list(legs), **fields}


def amounts(transaction: Json) -> list[tuple[str, str, int, str]]:
    return [
        (found["ledger_account_id"], found["direction"], found["amount"], found["status"])
        for found in transaction["ledger_entries"]
    ]


async def test_the_part_is_posted_and_answered_and_the_rest_stays_held(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    hold = await books.transfer(
        cash, wallet, 100, "pending", external_id="h", description="a hold", metadata={"a": "1"}
    )
    answer = await books.post(path(hold), part(*pair(cash, wallet, 30), description="first", metadata={"b": "2"}))
    made = answer.json()

    assert answer.status_code == 201
    assert {name: made[name] for name in made if name not in {"id", "ledger_entries", "created_at", "updated_at"}} == {
        "object": "ledger_transaction",
        "live_mode": True,
        "ledger_id": cash["ledger_id"],
        "status": "posted",
        "description": "first",
        "external_id": None,
        "effective_at": hold["effective_at"],
        "effective_date": hold["effective_date"],
        "posted_at": made["created_at"],
        "archived_reason": None,
        "ledgerable_type": None,
        "ledgerable_id": None,
        "reverses_ledger_transaction_id": None,
        "reversed_by_ledger_transaction_id": None,
        "partially_posts_ledger_transaction_id": hold["id"],
        "expires_at": None,
        "metadata": {"b": "2"},
    }
    assert made["updated_at"] == made["created_at"]
    assert amounts(made) == [(cash["id"], "debit", 30, "posted"), (wallet["id"], "credit", 30, "posted")]
    assert [found["ledger_account_lock_version"] for found in made["ledger_entries"]] == [3, 3]
    assert await books.read(f"/ledger_transactions/{made['id']}") == made

    left = await books.read(f"/ledger_transactions/{hold['id']}")
    assert left == {**hold, "updated_at": made["created_at"], "ledger_entries": left["ledger_entries"]}
    assert amounts(left) == [(cash["id"], "debit", 70, "pending"), (wallet["id"], "credit", 70, "pending")]
    assert [found["ledger_account_lock_version"] for found in left["ledger_entries"]] == [2, 2]
    assert await books.balances(wallet) == {"pending": (100, 0, 100), "posted": (30, 0, 30), "available": (30, 0, 30)}
    old = [await books.read(f"/ledger_entries/{found['id']}") for found in hold["ledger_entries"]]
    assert [found["discarded_at"] for found in old] == [made["created_at"]] * 2


async def test_a_hold_is_posted_in_several_parts_and_then_to_its_end(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    hold = await books.transfer(cash, wallet, 100, "pending")
    parts = [(await books.post(path(hold), part(*pair(cash, wallet, amount)))).json() for amount in (30, 0, 69)]
    before = await books.state()
    refused = await books.post(path(hold), part(*pair(cash, wallet, 1)))
    assert refusal(refused) == Refusal(422, "not_partially_postable", "posted_ledger_entries[0].amount")
    assert await books.state() == before
    rest = (await books.patch(f"/ledger_transactions/{hold['id']}", {"status": "posted"})).json()
    assert [each["ledger_entries"][0]["amount"] for each in [*parts, rest]] == [30, 0, 69, 1]
    assert await books.balances(wallet) == dict.fromkeys(("pending", "posted", "available"), (100, 0, 100))
    query = f"/ledger_transactions?partially_posts_ledger_transaction_id={hold['id']}"
    assert ids(await books.get(query)) == ids(parts[::-1])
    assert ids(await books.get(f"{query}&ledger_id={cash['ledger_id']}&status=posted")) == ids(parts[::-1])
    assert [ids(page) for page in await books.pages(f"{query}&per_page=2")] == [ids(parts[:0:-1]), ids(parts[:1])]
    nothing = f"/ledger_transactions?partially_posts_ledger_transaction_id={parts[0]['id']}"
    assert await books.read(nothing) == []


async def test_the_rest_can_be_archived_and_what_was_posted_stays(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    hold = await books.transfer(cash, wallet, 100, "pending")
    made = (await books.post(path(hold), part(*pair(cash, wallet, 30)))).json()
    await books.patch(f"/ledger_transactions/{hold['id']}", {"status": "archived"})
    assert await books.balances(wallet) == dict.fromkeys(("pending", "posted", "available"), (30, 0, 30))
    reversal = await books.post(f"/ledger_transactions/{made['id']}/reversal", {})
    assert reversal.status_code == 201
    assert await books.balances(wallet) == {
        "pending": (30, 30, 0), "posted": (30, 30, 0), "available": (30, 30, 0)
    }  # fmt: skip


async def test_each_entry_counts_when_its_own_did_unless_the_part_has_a_time(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    legs = [entry(cash, "debit", 9, effective_at="2023-01-01T00:00:00Z"), entry(wallet, "credit", 9)]
    body = {"ledger_entries": legs, "effective_at": "2024-01-01T00:00:00Z"}
    hold = (await books.post("/ledger_transactions", body)).json()
    first = (await books.post(path(hold), part(*pair(cash, wallet, 1)))).json()
    second = (
        await books.post(path(hold), part(*pair(cash, wallet, 1), effective_at="2025-05-05T12:00:00+02:00"))
    ).json()
    left = await books.read(f"/ledger_transactions/{hold['id']}")
    own = ["2023-01-01T00:00:00Z", "2024-01-01T00:00:00Z"]
    assert [found["effective_at"] for found in first["ledger_entries"]] == own
    assert [found["effective_at"] for found in left["ledger_entries"]] == own
    assert first["effective_at"] == "2024-01-01T00:00:00Z"
    assert (second["effective_at"], second["effective_date"]) == ("2025-05-05T10:00:00Z", "2025-05-05")
    assert {found["effective_at"] for found in second["ledger_entries"]} == {"2025-05-05T10:00:00Z"}


async def test_the_largest_hold_is_posted_to_its_last_unit(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    hold = await books.transfer(cash, wallet, LARGEST, "pending")
    body = part(
        {"ledger_account_id": cash["id"], "direction": "debit", "amount_string": str(LARGEST - 1)},
        entry(wallet, "credit", LARGEST - 1, amount_string=str(LARGEST - 1)),
    )
    made = await books.post(path(hold), body)
    assert made.status_code == 201
    assert [found["amount_string"] for found in made.json()["ledger_entries"]] == [str(LARGEST - 1)] * 2
    assert await books.balances(wallet) == {
        "pending": (LARGEST, 0, LARGEST),
        "posted": (LARGEST - 1, 0, LARGEST - 1),
        "available": (LARGEST - 1, 0, LARGEST - 1),
    }


async def test_the_balances_that_result_are_shown_where_they_are_asked_for(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    hold = await books.transfer(cash, wallet, 100, "pending")
    legs = [entry(cash, "debit", 30), entry(wallet, "credit", 30, show_resulting_ledger_account_balances=True)]
    shown = [
        found["resulting_ledger_account_balances"]
        for found in (await books.post(path(hold), part(*legs))).json()["ledger_entries"]
    ]
    assert shown[0] is None
    assert [shown[1][f"{name}_balance"]["amount"] for name in ("pending", "posted", "available")] == [100, 30, 30]


async def test_locks_look_at_the_account_before_and_at_its_balances_after_part_and_rest(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    hold = await books.transfer(cash, wallet, 100, "pending")
    after = {
        "pending_balance_amount": {"eq": 100},
        "posted_balance_amount": {"eq": 30},
        "available_balance_amount": {"eq": 30},
    }
    before = await books.state()
    for lock, code, place in (
        ({"lock_version": 0}, "lock_version_mismatch", "lock_version"),
        ({"posted_balance_amount": {"lt": 30}}, "balance_lock_failed", "posted_balance_amount"),
        ({"available_balance_amount": {"gt": LARGEST}}, "balance_lock_failed", "available_balance_amount"),
    ):
        refused = await books.post(path(hold), part(entry(cash, "debit", 30), entry(wallet, "credit", 30, **lock)))
        assert refusal(refused) == Refusal(422, code, f"posted_ledger_entries[1].{place}")
    assert await books.state() == before
    legs = [entry(cash, "debit", 30, lock_version=1), entry(wallet, "credit", 30, lock_version=1, **after)]
    assert (await books.post(path(hold), part(*legs))).status_code == 201


INVALID, UNKNOWN, MISSING = "parameter_invalid", "parameter_unknown", "parameter_missing"
ENTRIES, LEG = "posted_ledger_entries", "posted_ledger_entries[0]"
Make = Callable[[Json, Json], Any]


def with_leg(**fields: Any) -> Make:
    return lambda cash, wallet: part({**entry(cash, "debit", 1), **fields}, entry(wallet, "credit", 1))


def with_field(**fields: Any) -> Make:
    return lambda cash, wallet: part(*pair(cash, wallet, 1), **fields)


def with_text(text: Any) -> Make:
    return lambda cash, wallet: part(
        {"ledger_account_id": cash["id"], "direction": "debit", "amount_string": text}, entry(wallet, "credit", 1)
    )


# Of a hold of 100 from cash to wallet.
REFUSED: list[tuple[str, Make, Refusal]] = [
    ("no body", lambda *_: {}, Refusal(422, MISSING, ENTRIES)),
    ("entries null", lambda *_: {ENTRIES: None}, Refusal(422, INVALID, ENTRIES)),
    ("entries an object", lambda *_: {ENTRIES: {}}, Refusal(422, INVALID, ENTRIES)),
    ("entry null", lambda *_: {ENTRIES: [None]}, Refusal(422, INVALID, LEG)),
    ("a list", lambda *_: [], Refusal(422, INVALID, None)),
    ("ledger_entries", lambda c, w: {"ledger_entries": pair(c, w, 1)}, Refusal(422, UNKNOWN, "ledger_entries")),
    ("no entries", lambda *_: part(), Refusal(422, "not_partially_postable", ENTRIES)),
    ("one side", lambda c, _: part(entry(c, "debit", 1)), Refusal(422, "not_partially_postable", ENTRIES)),
    ("an entry too many", lambda c, w: part(*pair(c, w, 1), entry(c, "debit", 0)),
     Refusal(422, "not_partially_postable", f"{ENTRIES}[2]")),
    ("the other side", lambda c, w: part(*pair(w, c, 1)), Refusal(422, "not_partially_postable", ENTRIES)),
    ("all of it", lambda c, w: part(*pair(c, w, 100)), Refusal(422, "not_partially_postable", f"{LEG}.amount")),
    ("more than all", lambda c, w: part(entry(c, "debit", 50), entry(w, "credit", 101)),
     Refusal(422, "not_partially_postable", f"{ENTRIES}[1].amount")),
    ("10^36 + 1", lambda c, w: part(*pair(c, w, LARGEST + 1)),
     Refusal(422, "not_partially_postable", f"{LEG}.amount")),
    ("unbalanced", lambda c, w: part(entry(c, "debit", 2), entry(w, "credit", 1)), Refusal(422, "unbalanced", ENTRIES)),
    ("negative", lambda c, w: part(*pair(c, w, -1)), Refusal(422, "amount_out_of_range", f"{LEG}.amount")),
    ("1001 entries", lambda c, w: part(*pair(c, w, 0) * 500, entry(c, "debit", 0)),
     Refusal(422, "too_many_entries", ENTRIES)),
    ("amount missing", lambda c, w: part({"ledger_account_id": c["id"], "direction": "debit"}, entry(w, "credit", 1)),
     Refusal(422, MISSING, f"{LEG}.amount")),
    ("amount a string", with_leg(amount="1"), Refusal(422, INVALID, f"{LEG}.amount")),
    ("text fractional", with_text("1.5"), Refusal(422, INVALID, f"{LEG}.amount_string")),
    ("text of 5000 digits", with_text("9" * 5000), Refusal(422, INVALID, f"{LEG}.amount_string")),
    ("text unlike the number", with_leg(amount_string="2"), Refusal(422, INVALID, f"{LEG}.amount_string")),
    ("direction", with_leg(direction="up"), Refusal(422, INVALID, f"{LEG}.direction")),
    ("account no UUID", with_leg(ledger_account_id="x"), Refusal(404, "object_not_found", f"{LEG}.ledger_account_id")),
    ("account unknown", with_leg(ledger_account_id="65a1b2c3-0000-8000-8400-000000000800"),
     Refusal(404, "object_not_found", f"{LEG}.ledger_account_id")),
    ("effective_at of an entry", with_leg(effective_at="2024-01-01T00:00:00Z"),
     Refusal(422, UNKNOWN, f"{LEG}.effective_at")),
    ("lock_version negative", with_leg(lock_version=-1), Refusal(422, INVALID, f"{LEG}.lock_version")),
    ("misspelt comparison", with_leg(posted_balance_amount={"ge": 1}),
     Refusal(422, UNKNOWN, f"{LEG}.posted_balance_amount.ge")),
    ("bound beyond 10^45", with_leg(posted_balance_amount={"gte": 10**45 + 1}),
     Refusal(422, INVALID, f"{LEG}.posted_balance_amount.gte")),
    ("metadata of an entry", with_leg(metadata={"k": "v" * 1001}),
     Refusal(422, "metadata_too_large", f"{LEG}.metadata.k")),
    ("metadata an array", with_field(metadata=[]), Refusal(422, INVALID, "metadata")),
    ("metadata of 101 pairs", with_field(metadata={str(n): "v" for n in range(101)}),
     Refusal(422, "metadata_too_large", "metadata")),
    ("description of 1001", with_field(description="x" * 1001), Refusal(422, INVALID, "description")),
    ("effective_at no time", with_field(effective_at="yesterday"), Refusal(422, INVALID, "effective_at")),
    ("effective_date", with_field(effective_date="2024-01-01"), Refusal(422, UNKNOWN, "effective_date")),
    ("status", with_field(status="pending"), Refusal(422, UNKNOWN, "status")),
    ("external_id", with_field(external_id="x"), Refusal(422, UNKNOWN, "external_id")),
]  # fmt: skip


@pytest.mark.parametrize(("make", "expected"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
async def test_a_part_that_cannot_be_is_refused_and_changes_nothing(
    books: Books, make: Make, expected: Refusal
) -> None:
    cash, wallet = await books.cash_and_wallet()
    hold = await books.transfer(cash, wallet, 100, "pending")
    before = await books.state()
    assert refusal(await books.post(path(hold), make(cash, wallet), key="k")) == expected
    assert await books.state() == before
    accepted = await books.post(path(hold), part(*pair(cash, wallet, 1)), key="k")
    assert accepted.status_code == 201


@pytest.mark.parametrize("text", [r"a\u0000b", r"a\ud800b"])
@pytest.mark.parametrize("body", [{"description": "TEXT"}, {"metadata": {"TEXT": "v"}}, {"metadata": {"k": "TEXT"}}])
async def test_a_part_takes_no_text_that_no_database_stores(books: Books, body: Json, text: str) -> None:
    cash, wallet = await books.cash_and_wallet()
    hold = await books.transfer(cash, wallet, 100, "pending")
    before = await books.state()
    content = json.dumps(part(*pair(cash, wallet, 1), **body)).replace("TEXT", text)
    answer = await books.client.post(f"/api{path(hold)}", content=content, headers={"Content-Type": "application/json"})
    assert refusal(answer).code == "invalid_text"
    assert await books.state() == before


async def test_what_is_no_hold_has_no_parts(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    posted, archived = await books.transfer(cash, wallet), await books.transfer(cash, wallet, status="archived")
    undoing = (await books.post(f"/ledger_transactions/{posted['id']}/reversal", {"status": "pending"})).json()
    before = await books.state()
    for found, legs in (
        (posted, pair(cash, wallet, 1)),
        (archived, pair(cash, wallet, 1)),
        (undoing, pair(wallet, cash, 1)),
    ):
        refused = await books.post(path(found), part(*legs))
        assert refusal(refused) == Refusal(422, "not_partially_postable", None)
        assert found["status"] in refused.text or "reversal" in refused.text
    assert await books.state() == before


async def test_a_part_of_what_is_not_there_is_not_found(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    hold = await books.transfer(cash, wallet, 100, "pending", external_id="h")
    before = await books.state()
    one_on = f"{hold['id'][:-3]}fff"
    for id_ in ("x", "h", "65a1b2c3-0000-8000-8400-000000000800", one_on, cash["id"], hold["ledger_entries"][0]["id"]):
        refused = await books.post(f"/ledger_transactions/{id_}/partial_post", part(*pair(cash, wallet, 1)))
        assert refusal(refused) == Refusal(404, "object_not_found", None)
    assert await books.state() == before


async def test_a_part_on_accounts_of_another_ledger_is_refused(books: Books) -> None:
    hold = await books.transfer(*(await books.cash_and_wallet()), 100, "pending")
    other_cash, other_wallet = await books.cash_and_wallet()
    before = await books.state()
    refused = await books.post(path(hold), part(*pair(other_cash, other_wallet, 1)))
    assert refusal(refused) == Refusal(422, "mixed_ledgers", "posted_ledger_entries")
    assert await books.state() == before


async def test_nobody_posts_parts_of_anothers_hold_or_with_anothers_accounts(books: Books, others: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    ours = await books.transfer(cash, wallet, 100, "pending")
    their_cash, their_wallet = await others.cash_and_wallet()
    theirs = await others.transfer(their_cash, their_wallet, 100, "pending")
    before = await books.state()
    for legs in (pair(cash, wallet, 1), pair(their_cash, their_wallet, 1)):
        assert refusal(await books.post(path(theirs), part(*legs))) == Refusal(404, "object_not_found", None)
    refused = await books.post(path(ours), part(*pair(their_cash, their_wallet, 1)))
    where = "posted_ledger_entries[0].ledger_account_id"
    assert refusal(refused) == Refusal(404, "object_not_found", where)
    assert await books.state() == before
    made = (await others.post(path(theirs), part(*pair(their_cash, their_wallet, 1)))).json()
    query = f"/ledger_transactions?partially_posts_ledger_transaction_id={theirs['id']}"
    assert ids(await others.get(query)) == [made["id"]]
    assert await books.read(query) == []


async def test_a_discarded_ledger_takes_no_parts(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    hold = await books.transfer(cash, wallet, 100, "pending")
    await books.delete(f"/ledgers/{cash['ledger_id']}")
    before = await books.state()
    refused = await books.post(path(hold), part(*pair(cash, wallet, 1)))
    assert refusal(refused) == Refusal(422, "ledger_discarded", None)
    assert await books.state() == before


async def test_a_key_that_may_only_read_posts_no_parts(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    hold = await books.transfer(cash, wallet, 100, "pending")
    auth = (str(books.organization_id), await books.key("read"))
    before = await books.state()
    refused = await books.client.post(f"/api{path(hold)}", json=part(*pair(cash, wallet, 1)), auth=auth)
    assert refusal(refused) == Refusal(403, "role_insufficient", None)
    assert await books.state() == before


@pytest.mark.parametrize("shows", [False, True], ids=["plain", "with balances"])
async def test_a_repeated_key_answers_the_same_bytes_whatever_became_of_hold_and_part(
    books: Books, shows: bool
) -> None:
    cash, wallet = await books.cash_and_wallet()
    hold = await books.transfer(cash, wallet, 100, "pending")
    legs = [
        entry(cash, "debit", 30, metadata={"b": "2", "a": "1"}, show_resulting_ledger_account_balances=shows),
        entry(wallet, "credit", 30),
    ]
    body = part(*legs, metadata={"z": "1", "y": "2"}, description="d")
    first = await books.post(path(hold), body, key="k")
    assert first.status_code == 201
    made = first.json()
    await books.post(path(hold), part(*pair(cash, wallet, 1)))
    await books.patch(f"/ledger_transactions/{hold['id']}", {"status": "archived"})
    await books.patch(f"/ledger_transactions/{made['id']}", {"metadata": {"late": "1"}, "external_id": "e"})
    await books.patch(f"/ledger_entries/{made['ledger_entries'][0]['id']}", {"metadata": {"a": ""}})
    await books.post(f"/ledger_transactions/{made['id']}/reversal", {})
    before = await books.state()
    again = await books.post(path(hold), body, key="k")
    assert (again.status_code, again.content) == (201, first.content)
    refused = await books.post(path(hold), {**body, "description": "e"}, key="k")
    assert refusal(refused) == Refusal(422, "idempotency_key_reused", None)
    assert await books.state() == before


async def test_a_key_sent_several_times_at_once_posts_one_part(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    hold = await books.transfer(cash, wallet, 100, "pending")
    body = part(*pair(cash, wallet, 30))
    answers = await asyncio.gather(*(books.post(path(hold), body, key="k") for _ in range(8)))
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert (await books.balances(wallet))["posted"] == (30, 0, 30)


async def test_parts_at_once_never_take_more_than_is_held(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    hold = await books.transfer(cash, wallet, 100, "pending")
    answers = await asyncio.gather(*(books.post(path(hold), part(*pair(cash, wallet, 30))) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [422] * 7
    assert {refusal(answer).code for answer in answers if answer.status_code == 422} == {"not_partially_postable"}
    assert await books.balances(wallet) == {"pending": (100, 0, 100), "posted": (90, 0, 90), "available": (90, 0, 90)}
