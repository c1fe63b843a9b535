"""Bulk requests in few words: sent, worked off, and their results in the order of the items."""

from collections.abc import Sequence
from typing import Any

from doppia.api.http.request import Service
from doppia.api.platform import bulk_items
from doppia.engine.platform import bulk_work
from tests.api.over_http import Books, Json, pair


async def work_off(service: Service) -> None:
    """Do what is left of all bulk requests, as the service's background does."""
    await bulk_work.work_off(service.engine, bulk_items.reader(service))


async def send(books: Books, action: str, resource: str, resources: Sequence[Any], **fields: Any) -> Json:
    """Send a bulk request, and return it as it was accepted."""
    body = {"action_type": action, "resource_type": resource, "resources": resources, **fields}
    answer = await books.post("/bulk_requests", body)
    assert answer.status_code == 201, answer.text
    accepted: Json = answer.json()
    return accepted


async def done(books: Books, action: str, resource: str, resources: Sequence[Any], **fields: Any) -> list[Json]:
    """Send a bulk request, work it off, and return what became of its items."""
    accepted = await send(books, action, resource, resources, **fields)
    await work_off(books.service)
    return await results(books, accepted)


async def results(books: Books, request: Json) -> list[Json]:
    """Return the results of a bulk request, in the order of its items."""
    pages = await books.pages(f"/bulk_results?request_id={request['id']}&per_page=100")
    found = [result for page in pages for result in page][::-1]
    assert [result["index"] for result in found] == list(range(request["total_resource_count"]))
    return found


def codes(found: Sequence[Json]) -> list[str]:
    """Return for each result the status of its object or, where it failed, the code of the refusal."""
    return [
        result["entity"]["request_errors"][0]["refusal"]["code"]
        if result["status"] == "failed"
        else result["entity"].get("status", "done")
        for result in found
    ]


def transfer(debited: Json, credited: Json, amount: int = 100, **fields: object) -> Json:
    """Return the item that posts a transaction."""
    return {"status": "posted", "ledger_entries": pair(debited, credited, amount), **fields}


async def count_transactions(books: Books, account: Json) -> int:
    """Return how many transactions the account's ledger has."""
    pages = await books.pages(f"/ledger_transactions?ledger_id={account['ledger_id']}&per_page=100")
    return sum(map(len, pages))
