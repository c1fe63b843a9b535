"""Batches over HTTP in few words: how they are sent, and what each of their transactions was told."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import httpx2

from tests.api.over_http import Books, Json, pair

PATH = "/ledger_transactions/batch"
LARGEST = 10**36
NOT_FOUND = "object_not_found"


def of(*legs: Json, **fields: Any) -> Json:
    return {"ledger_entries": list(legs), "status": "posted", **fields}


def move(debited: Json, credited: Json, amount: int = 100, **fields: Any) -> Json:
    return of(*pair(debited, credited, amount), **fields)


async def send(books: Books, items: Sequence[Any], *, atomic: bool = False, key: str | None = None) -> httpx2.Response:
    return await books.post(PATH, {"atomic": atomic, "ledger_transactions": list(items)}, key)


async def send_lines(
    books: Books,
    content: bytes | str,
    query: str = "",
    key: str | None = None,
    media_type: str = "application/x-ndjson",
) -> httpx2.Response:
    headers = {"Content-Type": media_type, **({"Idempotency-Key": key} if key else {})}
    return await books.client.post(f"/api{PATH}{query}", content=content, headers=headers)


def lines(*items: Any) -> str:
    return "".join(f"{json.dumps(item)}\n" for item in items)


class Told(NamedTuple):
    """What one transaction of a batch was told."""

    status: str
    code: str | None
    parameter: str | None


def told(answer: httpx2.Response) -> list[Told]:
    """Return what became of each; each result has the same form."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"results"}
    found = []
    for result in answer.json()["results"]:
        assert set(result) == {"status", "ledger_transaction", "errors"}
        if result["status"] == "accepted":
            assert result["errors"] is None
            assert result["ledger_transaction"]["object"] == "ledger_transaction"
            found.append(Told("accepted", None, None))
        else:
            assert result["ledger_transaction"] is None
            errors = result["errors"]
            assert set(errors) == {"code", "message", "parameter", "refusal"}
            found.append(Told(result["status"], errors["refusal"]["code"], errors["parameter"]))
    return found


def made(answer: httpx2.Response) -> list[Json]:
    assert {each.status for each in told(answer)} == {"accepted"}
    return [result["ledger_transaction"] for result in answer.json()["results"]]


def refused(code: str, parameter: str | None) -> Told:
    return Told("refused", code, parameter)


ACCEPTED = Told("accepted", None, None)


class Fault(NamedTuple):
    """Why an atomic batch was refused."""

    status: int
    place: int
    code: str
    parameter: str | None


def fault(answer: httpx2.Response) -> Fault:
    """Return which transaction refused an atomic batch, and why; the answer says it in all its places alike."""
    body = answer.json()
    assert set(body) == {"errors", "index"}
    errors = body["errors"]
    assert set(errors) == {"code", "message", "parameter", "refusal"}
    assert errors["code"] == "parameter_invalid"
    why = errors["refusal"]
    assert (why["code"], why["retryable"], why["index"]) == ("batch_refused", False, body["index"])
    assert why["refusal"]["message"] in errors["message"]
    return Fault(answer.status_code, body["index"], why["refusal"]["code"], errors["parameter"])
