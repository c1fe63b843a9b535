"""Idempotency keys: one key, one effect, the same bytes again, on every route that writes."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import httpx2
import pytest

from tests.api.over_http import Books, Json, Refusal, entry, pair, refusal

pytestmark = pytest.mark.anyio


class Write(NamedTuple):
    """A write, another body for the same path (None where the path takes none), and a later change to its object."""

    method: str
    path: str
    body: Json | None
    other_body: Json | None
    later: Callable[[Books, Json], Awaitable[httpx2.Response]] | None


async def _rename(books: Books, made: Json) -> httpx2.Response:
    return await books.patch(f"/{made['object']}s/{made['id']}", {"name": "later", "metadata": {"later": "1"}})


async def _archive(books: Books, made: Json) -> httpx2.Response:
    body = {"status": "archived", "description": "later", "metadata": {"later": "1"}}
    return await books.patch(f"/ledger_transactions/{made['id']}", body)


async def _annotate(books: Books, made: Json) -> httpx2.Response:
    found = made["ledger_entries"][0]
    await books.patch(f"/ledger_entries/{found['id']}", {"metadata": {"later": "1"}})
    return await books.patch(f"/ledger_transactions/{made['id']}", {"metadata": {"later": "1"}, "external_id": "later"})


async def _reverse(books: Books, made: Json) -> httpx2.Response:
    return await books.post(f"/ledger_transactions/{made['id']}/reversal", {})


async def _annotate_entry(books: Books, made: Json) -> httpx2.Response:
    return await books.patch(f"/ledger_entries/{made['id']}", {"metadata": {"later": "1"}})


async def _writes(books: Books) -> dict[str, Write]:
    cash, wallet = await books.cash_and_wallet()
    spare = await books.account(await books.read(f"/ledgers/{cash['ledger_id']}"))
    held = await books.transfer(cash, wallet, status="pending", metadata={"a": "b"})
    kept = await books.transfer(cash, wallet, status="pending")
    posted = await books.transfer(cash, wallet)
    doomed = await books.ledger()
    account = {"name": "n", "ledger_id": cash["ledger_id"], "currency": "PHP", "normal_balance": "debit"}
    create = {"ledger_entries": pair(cash, wallet), "metadata": {"a": "1"}, "description": "d", "external_id": "x"}
    shows = [entry(cash, "debit", 9, show_resulting_ledger_account_balances=True), entry(wallet, "credit", 9)]
    transaction = f"/ledger_transactions/{held['id']}"
    found = f"/ledger_entries/{posted['ledger_entries'][0]['id']}"
    return {
        "create a ledger": Write("POST", "/ledgers", {"name": "a"}, {"name": "b"}, _rename),
        "update a ledger": Write("PATCH", f"/ledgers/{cash['ledger_id']}", {"name": "a"}, {"name": "b"}, _rename),
        "discard a ledger": Write("DELETE", f"/ledgers/{doomed['id']}", None, None, None),
        "create an account": Write("POST", "/ledger_accounts", account, {**account, "name": "o"}, _rename),
        "update an account": Write("PATCH", f"/ledger_accounts/{wallet['id']}", {"name": "a"}, {}, _rename),
        "discard an account": Write("DELETE", f"/ledger_accounts/{spare['id']}", None, None, None),
        "create a pending transaction": Write(
            "POST", "/ledger_transactions", create, {**create, "description": "e"}, _archive
        ),
        "create a posted transaction": Write(
            "POST", "/ledger_transactions", {**create, "status": "posted"}, create, _annotate
        ),
        "create a reversed transaction": Write(
            "POST", "/ledger_transactions", {**create, "status": "posted"}, create, _reverse
        ),
        "create a transaction with balances": Write(
            "POST", "/ledger_transactions", {"ledger_entries": shows}, {"ledger_entries": pair(cash, wallet)}, _archive
        ),
        "post a transaction": Write("PATCH", transaction, {"status": "posted"}, {"status": "archived"}, _annotate),
        "archive a transaction": Write("PATCH", transaction, {"status": "archived"}, {"status": "posted"}, None),
        "rewrite a transaction": Write(
            "PATCH", transaction, {"ledger_entries": pair(cash, wallet, 3)}, {"ledger_entries": shows}, _archive
        ),
        "rewrite a transaction with balances": Write("PATCH", transaction, {"ledger_entries": shows}, {}, _archive),
        "annotate a transaction": Write(
            "PATCH", f"/ledger_transactions/{kept['id']}", {"metadata": {"k": "v"}}, {"metadata": {"k": "w"}}, _archive
        ),
        "reverse a transaction": Write(
            "POST", f"/ledger_transactions/{posted['id']}/reversal", {"status": "pending"}, {}, _archive
        ),
        "annotate an entry": Write("PATCH", found, {"metadata": {"a": "1"}}, {"metadata": {"a": "2"}}, _annotate_entry),
    }


WRITES = (
    "create a ledger", "update a ledger", "discard a ledger", "create an account", "update an account",
    "discard an account", "create a pending transaction", "create a posted transaction",
    "create a reversed transaction", "create a transaction with balances", "post a transaction",
    "archive a transaction", "rewrite a transaction", "rewrite a transaction with balances",
    "annotate a transaction", "reverse a transaction", "annotate an entry",
)  # fmt: skip


async def send(books: Books, write: Write, body: Any, key: str) -> httpx2.Response:
    content = None if body is None else json.dumps(body)
    headers = {"Idempotency-Key": key, **({} if body is None else {"Content-Type": "application/json"})}
    return await books.client.request(write.method, f"/api{write.path}", content=content, headers=headers)


@pytest.mark.parametrize("name", WRITES)
async def test_a_repeated_key_answers_the_same_bytes_and_does_nothing_even_after_later_changes(
    books: Books, name: str
) -> None:
    write = (await _writes(books))[name]
    first = await send(books, write, write.body, "k")
    assert first.status_code in {200, 201}, first.text
    for later in (None, write.later):
        if later is not None:
            changed = await later(books, first.json())
            assert changed.status_code in {200, 201}, changed.text
        before = await books.state()
        again = await send(books, write, write.body, "k")
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert await books.state() == before


@pytest.mark.parametrize("name", [name for name in WRITES if not name.startswith("discard")])
async def test_a_key_with_another_body_is_refused_and_does_nothing(books: Books, name: str) -> None:
    write = (await _writes(books))[name]
    first = await send(books, write, write.body, "k")
    before = await books.state()
    assert refusal(await send(books, write, write.other_body, "k")) == Refusal(422, "idempotency_key_reused", None)
    assert await books.state() == before
    assert (await send(books, write, write.body, "k")).content == first.content


@pytest.mark.parametrize("name", WRITES)
async def test_a_key_that_is_sent_several_times_at_once_has_one_effect_and_one_answer(books: Books, name: str) -> None:
    write = (await _writes(books))[name]
    answers = await asyncio.gather(*(send(books, write, write.body, "k") for _ in range(4)))
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert len({answer.content for answer in answers}) == 1
    before = await books.state()
    await send(books, write, write.body, "k")
    assert await books.state() == before


async def test_the_same_request_written_otherwise_is_the_same_request(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    legs = pair(cash, wallet)
    first = await books.post("/ledger_transactions", {"description": "d", "ledger_entries": legs}, key="k")
    spaced = json.dumps({"ledger_entries": legs, "status": None, "description": "d"}, indent=3)
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json; charset=utf-8"}
    again = await books.client.post("/v1/ledger_transactions", content=spaced, headers=headers)
    assert (again.status_code, again.content) == (201, first.content)


async def test_a_refusal_does_not_consume_the_key(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    legs = [entry(wallet, "debit", 100, available_balance_amount={"gte": 0}), entry(cash, "credit", 100)]
    body = {"status": "posted", "ledger_entries": legs}
    assert refusal(await books.post("/ledger_transactions", body, key="k")).code == "balance_lock_failed"
    await books.transfer(cash, wallet, 100)
    accepted = await books.post("/ledger_transactions", body, key="k")
    assert accepted.status_code == 201
    assert (await books.post("/ledger_transactions", body, key="k")).content == accepted.content


async def test_a_key_belongs_to_its_route(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.post("/ledger_transactions", {"ledger_entries": pair(cash, wallet), "status": "posted"}, key="k")
    path = f"/ledger_transactions/{made.json()['id']}"
    reversal = await books.post(f"{path}/reversal", {}, key="k")
    changed = await books.patch(path, {"metadata": {"a": "b"}}, key="k")
    ledger = await books.post("/ledgers", {"name": "x"}, key="k")
    assert [answer.status_code for answer in (made, reversal, changed, ledger)] == [201, 201, 200, 201]
    # It is the route's, not the path's: on another transaction it is another request.
    other = await books.transfer(cash, wallet)
    refused = await books.patch(f"/ledger_transactions/{other['id']}", {"metadata": {"a": "b"}}, key="k")
    assert refusal(refused).code == "idempotency_key_reused"


async def test_a_key_of_a_discard_is_refused_for_another_account(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    assert (await books.delete(f"/ledger_accounts/{cash['id']}", key="k")).status_code == 200
    before = await books.state()
    assert refusal(await books.delete(f"/ledger_accounts/{wallet['id']}", key="k")).code == "idempotency_key_reused"
    assert await books.state() == before


async def test_a_key_belongs_to_its_organization(books: Books, others: Books) -> None:
    ours = (await books.post("/ledgers", {"name": "x"}, key="k")).json()
    theirs = (await others.post("/ledgers", {"name": "x"}, key="k")).json()
    assert ours["id"] != theirs["id"]


@pytest.mark.parametrize("length", [1, 255])
async def test_a_key_has_1_to_255_characters(books: Books, length: int) -> None:
    first = await books.post("/ledgers", {"name": "x"}, key="k" * length)
    assert (await books.post("/ledgers", {"name": "x"}, key="k" * length)).content == first.content


@pytest.mark.parametrize("key", ["", "k" * 256])
async def test_a_key_of_another_length_is_refused(books: Books, key: str) -> None:
    before = await books.state()
    refused = await books.client.post("/api/ledgers", json={"name": "x"}, headers={"Idempotency-Key": key})
    assert refusal(refused) == Refusal(422, "parameter_invalid", "Idempotency-Key")
    assert await books.state() == before


async def test_a_read_does_not_mind_a_key(books: Books) -> None:
    made = await books.ledger()
    before = await books.state()
    for _ in range(2):
        answer = await books.client.get(f"/api/ledgers/{made['id']}", headers={"Idempotency-Key": "k"})
        assert answer.status_code == 200
    assert await books.state() == before


async def test_a_key_is_kept_when_its_ledger_is_discarded(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    body = {"ledger_entries": pair(cash, wallet)}
    first = await books.post("/ledger_transactions", body, key="k")
    await books.delete(f"/ledgers/{cash['ledger_id']}")
    again = await books.post("/ledger_transactions", body, key="k")
    assert (again.status_code, again.content) == (201, first.content)


async def test_a_repeated_purge_answers_the_same_bytes_though_the_ledger_is_gone(books: Books) -> None:
    ledger, other = await books.ledger(), await books.ledger()
    path = f"/ledgers/{ledger['id']}?purge=true&confirm={ledger['id']}"
    first = await books.delete(path, key="k")
    before = await books.state()
    again = await books.delete(path, key="k")
    assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)
    refused = await books.delete(f"/ledgers/{other['id']}?purge=true&confirm={other['id']}", key="k")
    assert refusal(refused).code == "idempotency_key_reused"
    assert await books.state() == before


async def test_a_key_that_was_consumed_in_one_ledger_is_refused_in_another(books: Books) -> None:
    first, second = await books.cash_and_wallet(), await books.cash_and_wallet()
    assert (await books.post("/ledger_transactions", {"ledger_entries": pair(*first)}, key="k")).status_code == 201
    before = await books.state()

    answer = await books.post("/ledger_transactions", {"ledger_entries": pair(*second)}, key="k")

    assert refusal(answer).code == "idempotency_key_reused"
    assert await books.state() == before
