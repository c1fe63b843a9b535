"""What once went wrong over HTTP, each as one plain request."""

import asyncio
import base64
from collections.abc import MutableMapping
from typing import Any, Protocol

import httpx2
import pytest

from doppia.accounting.ids import parse_id
from doppia.api.app import create_app
from doppia.api.http.request import Service

pytestmark = pytest.mark.anyio


class Running(Protocol):
    """What the fixture `running` lends."""

    service: Service
    organization_id: str
    api_key: str

    def client(self) -> httpx2.AsyncClient: ...


@pytest.mark.parametrize("date", ["2026-W01-1", "20260101", "2026-1-1", "٢٠٢٦-01-01", "2026-02-30"])
async def test_a_date_is_a_year_a_month_and_a_day_in_bodies_and_filters(client: httpx2.AsyncClient, date: str) -> None:
    ledger = (await client.post("/api/ledgers", json={"name": "books"})).json()["id"]
    cash, wallet = [
        (
            await client.post(
                "/api/ledger_accounts",
                json={"name": side, "ledger_id": ledger, "currency": "PHP", "normal_balance": side},
            )
        ).json()["id"]
        for side in ("debit", "credit")
    ]
    entries = [
        {"ledger_account_id": cash, "direction": "debit", "amount": 1},
        {"ledger_account_id": wallet, "direction": "credit", "amount": 1},
    ]
    written = await client.post("/api/ledger_transactions", json={"effective_date": date, "ledger_entries": entries})
    listed = await client.get("/api/ledger_transactions", params={"effective_date[eq]": date})

    for answer, parameter in ((written, "effective_date"), (listed, "effective_date[eq]")):
        assert answer.status_code == 422
        assert answer.json()["errors"]["message"] == f"{parameter} must be a date such as 2026-03-31."


@pytest.mark.parametrize("name", ["metadata", "metadata[]"])
async def test_a_metadata_filter_without_a_key_is_told_how_it_is_written(client: httpx2.AsyncClient, name: str) -> None:
    answer = await client.get("/api/ledgers", params={name: "x"})

    assert answer.status_code == 422
    assert answer.json()["errors"]["message"] == f"{name} is written metadata[KEY]=VALUE."


async def test_a_lock_version_below_zero_is_no_lock_version(client: httpx2.AsyncClient) -> None:
    entries = [
        {
            "ledger_account_id": "65a1b2c3-0000-8000-8400-000000000400",
            "direction": "debit",
            "amount": 1,
            "lock_version": -1,
        }
    ]
    answer = await client.post("/api/ledger_transactions", json={"ledger_entries": entries})

    assert answer.status_code == 422
    assert answer.json()["errors"]["parameter"] == "ledger_entries[0].lock_version"


async def test_times_of_answers_are_described_as_times(client: httpx2.AsyncClient) -> None:
    schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]

    for name in ("LedgerObject", "AccountObject", "TransactionObject", "EntryObject"):
        assert schemas[name]["properties"]["created_at"] == {"type": "string", "format": "date-time"}


async def test_a_name_of_four_byte_characters_is_kept_and_found(client: httpx2.AsyncClient) -> None:
    ledger = (await client.post("/api/ledgers", json={"name": "books"})).json()["id"]
    name = "".join(chr(0x1F300 + position % 500) for position in range(1000))
    body = {"name": name, "ledger_id": ledger, "currency": "PHP", "normal_balance": "debit"}

    opened = await client.post("/api/ledger_accounts", json=body)
    found = await client.get("/api/ledger_accounts", params={"name[]": name})

    assert opened.status_code == 201
    assert [account["id"] for account in found.json()] == [opened.json()["id"]]


async def test_merged_metadata_stays_within_its_limit(client: httpx2.AsyncClient) -> None:
    full = {f"key {number}": "value" for number in range(100)}
    ledger = (await client.post("/api/ledgers", json={"name": "books", "metadata": full})).json()["id"]

    answer = await client.patch(f"/api/ledgers/{ledger}", json={"metadata": {"one more": "value"}})

    assert answer.status_code == 422
    assert answer.json()["errors"]["refusal"]["code"] == "metadata_too_large"
    assert (await client.get(f"/api/ledgers/{ledger}")).json()["metadata"] == full


@pytest.mark.parametrize("name", ["Idempotency-Key", "Content-Type"])
async def test_a_header_that_decides_is_refused_when_it_comes_twice(client: httpx2.AsyncClient, name: str) -> None:
    headers = [(name, "application/json"), (name, "application/json")]

    answer = await client.post("/api/ledgers", content=b'{"name": "books"}', headers=headers)

    assert answer.status_code == 422
    assert answer.json()["errors"]["parameter"] == name.lower()


async def test_purges_of_one_ledger_with_one_key_at_once_get_one_answer(client: httpx2.AsyncClient) -> None:
    ledger = (await client.post("/api/ledgers", json={"name": "books"})).json()["id"]
    path = f"/api/ledgers/{ledger}?purge=true&confirm={ledger}"

    answers = await asyncio.gather(*(client.delete(path, headers={"Idempotency-Key": "away"}) for _ in range(8)))

    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}


async def test_a_transaction_can_not_be_changed_before_anyone_knows_its_id(client: httpx2.AsyncClient) -> None:
    ledger = (await client.post("/api/ledgers", json={"name": "books"})).json()["id"]
    cash, wallet = [
        (
            await client.post(
                "/api/ledger_accounts",
                json={"name": side, "ledger_id": ledger, "currency": "PHP", "normal_balance": side},
            )
        ).json()["id"]
        for side in ("debit", "credit")
    ]
    body = {
        "ledger_entries": [
            {"ledger_account_id": cash, "direction": "debit", "amount": 1},
            {"ledger_account_id": wallet, "direction": "credit", "amount": 1},
        ]
    }

    async def guess_and_archive(wallet_id: str, steps: int) -> httpx2.Response:
        known = parse_id(wallet_id)
        assert known is not None
        guessed = known._replace(sequence=known.sequence + steps)
        return await client.patch(f"/api/ledger_transactions/{guessed}", json={"status": "archived"})

    posts = [client.post("/api/ledger_transactions", json=body) for _ in range(20)]
    guesses = [guess_and_archive(wallet, steps) for steps in range(1, 21)]
    answers = await asyncio.gather(*(call for pair in zip(posts, guesses, strict=True) for call in pair))

    written = [answer.json()["id"] for answer in answers[::2]]
    archived = {answer.json()["id"] for answer in answers[1::2] if answer.status_code == 200}
    for id_ in written:
        stored = (await client.get(f"/api/ledger_transactions/{id_}")).json()
        assert stored["status"] == ("archived" if id_ in archived else "pending")


async def test_a_request_whose_caller_left_before_its_body_came_does_nothing(running: Running) -> None:
    pair = base64.b64encode(f"{running.organization_id}:{running.api_key}".encode())
    headers = [(b"authorization", b"Basic " + pair), (b"content-type", b"application/json"), (b"content-length", b"40")]
    scope = {
        "type": "http",
        "method": "PATCH",
        "path": "",
        "query_string": b"",
        "headers": headers,
        "root_path": "",
    }
    sent: list[MutableMapping[str, Any]] = []

    async def gone() -> MutableMapping[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async with running.client() as client:
        ledger = (await client.post("/api/ledgers", json={"name": "books"})).json()
        await create_app(running.service)({**scope, "path": f"/api/ledgers/{ledger['id']}"}, gone, send)

        assert sent == []
        assert (await client.get(f"/api/ledgers/{ledger['id']}")).json() == ledger
