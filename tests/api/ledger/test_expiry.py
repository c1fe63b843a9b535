"""Holds with an end over HTTP, and transactions that are kept as archived where a balance lock fails."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest

from doppia.api.app import create_app
from doppia.api.http.request import Service
from doppia.engine.background.expiry import expire_due
from doppia.engine.performing import Engine
from tests.api.over_http import Books, Json, Refusal, entry, ids, now, pair, refusal
from tests.servers import CHECKPOINT_KEYS

pytestmark = pytest.mark.anyio

FAR_OFF = "2999-12-31T23:59:59.123456Z"


def tomorrow() -> str:
    return (now() + timedelta(days=1)).isoformat()


def next_week() -> datetime:
    return now() + timedelta(days=7)


@asynccontextmanager
async def a_week_on(books: Books) -> AsyncIterator[Books]:
    """Lend the same books as they are served in a week."""
    engine = Engine(books.service.engine.database, next_week)
    service = Service(engine, books.service.authenticator, CHECKPOINT_KEYS)
    transport = httpx2.ASGITransport(app=create_app(service))
    auth = (str(books.organization_id), books.api_key)
    async with httpx2.AsyncClient(transport=transport, base_url="http://doppia.test", auth=auth, timeout=60) as client:
        yield replace(books, service=service, client=client)
    await engine.close()


async def archive_due(books: Books) -> None:
    await expire_due(books.service.engine)


async def test_a_hold_tells_when_it_expires(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    hold = await books.transfer(cash, wallet, 100, "pending", expires_at="2999-12-31T23:59:59.1234567+01:00")
    assert hold["expires_at"] == "2999-12-31T22:59:59.123456Z"
    assert await books.read(f"/ledger_transactions/{hold['id']}") == hold
    assert await books.read(f"/ledger_transactions?ledger_id={cash['ledger_id']}") == [hold]
    assert (await books.transfer(cash, wallet, 1, "pending", expires_at=None))["expires_at"] is None
    assert (await books.transfer(cash, wallet, 1, "pending"))["expires_at"] is None


async def test_the_time_is_moved_taken_away_and_given_without_new_entries(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    hold = await books.transfer(cash, wallet, 100, "pending", expires_at=FAR_OFF)
    path = f"/ledger_transactions/{hold['id']}"
    for time in ("2998-01-01T00:00:00Z", None, FAR_OFF):
        changed = (await books.patch(path, {"expires_at": time})).json()
        assert changed == {**hold, "expires_at": time, "updated_at": changed["updated_at"]}
        assert await books.read(path) == changed
    assert await books.lock_version(wallet) == 1
    assert (await books.patch(path, {"description": "d"})).json()["expires_at"] == FAR_OFF
    assert (await books.patch(path, {"ledger_entries": pair(cash, wallet, 7)})).json()["expires_at"] == FAR_OFF
    part = {"posted_ledger_entries": pair(cash, wallet, 3)}
    assert (await books.post(f"{path}/partial_post", part)).json()["expires_at"] is None
    assert (await books.read(path))["expires_at"] == FAR_OFF
    assert (await books.patch(path, {"status": "posted"})).json()["expires_at"] == FAR_OFF


async def test_a_pending_reversal_may_be_given_an_end(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    posted = await books.transfer(cash, wallet)
    undoing = (await books.post(f"/ledger_transactions/{posted['id']}/reversal", {"status": "pending"})).json()
    changed = await books.patch(f"/ledger_transactions/{undoing['id']}", {"expires_at": FAR_OFF})
    assert (changed.status_code, changed.json()["expires_at"]) == (200, FAR_OFF)


async def test_what_has_expired_takes_nothing_more_and_is_archived_with_the_reason(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    hold = await books.transfer(
        cash, wallet, 100, "pending", expires_at=tomorrow(), external_id="h", metadata={"a": "1"}
    )
    path = f"/ledger_transactions/{hold['id']}"
    before = await books.state()
    async with a_week_on(books) as later:
        for body in (
            {"status": "posted"}, {"status": "archived"}, {"status": "posted", "ledger_entries": pair(cash, wallet, 1)},
            {"expires_at": FAR_OFF}, {"expires_at": None}, {"metadata": {"b": "2"}}, {"description": "x"}, {},
        ):  # fmt: skip
            refused = await later.patch(path, body, key="k")
            assert refusal(refused) == Refusal(422, "transaction_expired", None)
            told = datetime.fromisoformat(refused.json()["errors"]["refusal"]["expires_at"])
            assert told == datetime.fromisoformat(hold["expires_at"])
        refused = await later.post(f"{path}/partial_post", {"posted_ledger_entries": pair(cash, wallet, 1)}, key="k")
        assert refusal(refused) == Refusal(422, "transaction_expired", None)
        assert await books.state() == before
        await archive_due(later)

    gone = await books.read(path)
    assert gone["updated_at"] > hold["expires_at"]
    assert gone == {
        **hold,
        "status": "archived",
        "archived_reason": "expired",
        "updated_at": gone["updated_at"],
        "ledger_entries": [
            {**found, "discarded_at": gone["updated_at"], "updated_at": gone["updated_at"]}
            for found in hold["ledger_entries"]
        ],
    }
    assert await books.balances(wallet) == dict.fromkeys(("pending", "posted", "available"), (0, 0, 0))
    assert await books.lock_version(wallet) == 2
    refused = await books.patch(path, {"status": "posted"})
    assert refusal(refused) == Refusal(422, "transaction_final", None)
    # It has freed its external_id, and is found as any archived transaction is.
    assert (await books.transfer(cash, wallet, external_id="h"))["external_id"] == "h"
    assert ids(await books.get(f"/ledger_transactions?status=archived&ledger_id={cash['ledger_id']}")) == [hold["id"]]
    kept = await books.patch(path, {"metadata": {"b": "2"}})
    assert kept.json()["metadata"] == {"a": "1", "b": "2"}


async def test_what_a_part_left_of_the_largest_hold_expires_and_the_part_stays(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    hold = await books.transfer(cash, wallet, 10**36, "pending", expires_at=tomorrow())
    part = {"posted_ledger_entries": pair(cash, wallet, 30)}
    assert (await books.post(f"/ledger_transactions/{hold['id']}/partial_post", part)).status_code == 201
    async with a_week_on(books) as later:
        await archive_due(later)
    assert (await books.read(f"/ledger_transactions/{hold['id']}"))["archived_reason"] == "expired"
    assert await books.balances(wallet) == dict.fromkeys(("pending", "posted", "available"), (30, 0, 30))


async def test_a_repeated_key_answers_as_before_the_hold_expired(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    body = {"ledger_entries": pair(cash, wallet), "expires_at": tomorrow()}
    first = await books.post("/ledger_transactions", body, key="k")
    async with a_week_on(books) as later:
        await archive_due(later)
        before = await books.state()
        # Asked anew, the time would be past by now.
        again = await later.post("/ledger_transactions", body, key="k")
        assert (again.status_code, again.content) == (201, first.content)
        assert refusal(await later.post("/ledger_transactions", body, key="l")).code == "parameter_invalid"
        moved = {**body, "expires_at": FAR_OFF}
        assert refusal(await later.post("/ledger_transactions", moved, key="k")).code == "idempotency_key_reused"
    assert await books.state() == before


CANNOT_BE: list[tuple[str, Any]] = [
    ("now", lambda: now().isoformat()),
    ("the past", lambda: "2024-01-01T00:00:00Z"),
    ("no time", lambda: "tomorrow"),
    ("a date", lambda: "2999-01-01"),
    ("empty", lambda: ""),
    ("the 30th of February", lambda: "2999-02-30T00:00:00Z"),
    ("the end of the calendar", lambda: "9999-12-31T23:59:59.999999Z"),
    ("beyond the calendar", lambda: "9999-12-31T23:59:59-01:00"),
    ("a number", lambda: 4_000_000_000),
    ("an object", dict),
    ("a boolean", lambda: True),
]


@pytest.mark.parametrize("make", [case[1] for case in CANNOT_BE], ids=[case[0] for case in CANNOT_BE])
async def test_a_time_that_cannot_be_is_refused(books: Books, make: Any) -> None:
    cash, wallet = await books.cash_and_wallet()
    hold = await books.transfer(cash, wallet, 100, "pending")
    before = await books.state()
    expected = Refusal(422, "parameter_invalid", "expires_at")
    created = await books.post("/ledger_transactions", {"ledger_entries": pair(cash, wallet), "expires_at": make()})
    assert refusal(created) == expected
    assert refusal(await books.patch(f"/ledger_transactions/{hold['id']}", {"expires_at": make()})) == expected
    assert await books.state() == before


@pytest.mark.parametrize("status", ["posted", "archived"])
async def test_what_is_final_has_no_end_to_come(books: Books, status: str) -> None:
    cash, wallet = await books.cash_and_wallet()
    hold = await books.transfer(cash, wallet, 100, "pending")
    final = await books.transfer(cash, wallet, 100, status)
    before = await books.state()
    expected = Refusal(422, "parameter_invalid", "expires_at")
    body = {"status": status, "ledger_entries": pair(cash, wallet), "expires_at": FAR_OFF}
    assert refusal(await books.post("/ledger_transactions", body)) == expected
    changes = {"status": status, "expires_at": FAR_OFF}
    assert refusal(await books.patch(f"/ledger_transactions/{hold['id']}", changes)) == expected
    refused = await books.patch(f"/ledger_transactions/{final['id']}", {"expires_at": FAR_OFF})
    assert refusal(refused) == Refusal(422, "transaction_final", None)
    assert await books.state() == before


def guarded(cash: Json, wallet: Json, amount: int = 100, **lock: Any) -> list[Json]:
    return [
        entry(wallet, "debit", amount, **(lock or {"available_balance_amount": {"gte": 0}})),
        entry(cash, "credit", amount),
    ]


@pytest.mark.parametrize("status", ["pending", "posted"])
async def test_a_failed_balance_lock_may_be_kept_as_an_archived_transaction(books: Books, status: str) -> None:
    cash, wallet = await books.cash_and_wallet()
    body = {
        "status": status,
        "ledger_entries": guarded(cash, wallet, 10**36),
        "archive_on_balance_lock_failure": True,
        "external_id": "x",
        "description": "d",
        "metadata": {"a": "1"},
    }
    answer = await books.post("/ledger_transactions", body, key="k")
    made = answer.json()
    assert answer.status_code == 201
    assert (made["status"], made["archived_reason"], made["posted_at"]) == ("archived", "balance_lock_failure", None)
    assert (made["external_id"], made["description"], made["metadata"]) == ("x", "d", {"a": "1"})
    assert [
        (found["status"], found["amount"], found["ledger_account_lock_version"], found["discarded_at"])
        for found in made["ledger_entries"]
    ] == [("archived", 10**36, None, None)] * 2
    assert await books.read(f"/ledger_transactions/{made['id']}") == made
    assert await books.lock_version(wallet) == 0
    # Its key is consumed: once funded, the same request is answered by what it was, another is posted.
    await books.transfer(cash, wallet, 10**36)
    assert (await books.post("/ledger_transactions", body, key="k")).content == answer.content
    passed = (await books.post("/ledger_transactions", body)).json()
    assert (passed["status"], passed["archived_reason"]) == (status, None)


async def test_only_a_failed_balance_lock_is_kept(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    await books.transfer(cash, wallet, external_id="taken")
    before = await books.state()
    keep = {"archive_on_balance_lock_failure": True}
    too_much = guarded(cash, wallet, 1000)
    for body, code in (
        ({"ledger_entries": guarded(cash, wallet, lock_version=9), **keep}, "lock_version_mismatch"),
        ({"ledger_entries": [*too_much, entry(cash, "credit", 1)], **keep}, "unbalanced"),
        ({"ledger_entries": too_much, "external_id": "taken", **keep}, "external_id_taken"),
        ({"ledger_entries": too_much, "status": "posted", "expires_at": FAR_OFF, **keep}, "parameter_invalid"),
        ({"ledger_entries": too_much, "archive_on_balance_lock_failure": False}, "balance_lock_failed"),
        ({"ledger_entries": too_much, "archive_on_balance_lock_failure": None}, "balance_lock_failed"),
        ({"ledger_entries": too_much, "archive_on_balance_lock_failure": "yes"}, "parameter_invalid"),
        ({"ledger_entries": too_much, "archive_on_balance_lock_failure": 1}, "parameter_invalid"),
    ):
        assert refusal(await books.post("/ledger_transactions", body)).code == code
    assert await books.state() == before


async def test_a_change_takes_no_word_about_failed_locks(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    hold = await books.transfer(cash, wallet, status="pending")
    refused = await books.patch(f"/ledger_transactions/{hold['id']}", {"archive_on_balance_lock_failure": True})
    assert refusal(refused) == Refusal(422, "parameter_unknown", "archive_on_balance_lock_failure")
