"""Bulk requests that can't be, and items that can't be."""

import json
from typing import Any

import pytest

from tests.api.over_http import Books, Refusal, refusal
from tests.api.platform.bulk_books import codes, send, work_off

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}

BAD: dict[str, tuple[Any, Refusal]] = {
    "nothing": ({}, Refusal(422, "parameter_missing", "action_type")),
    "no resource_type": ({"action_type": "create"}, Refusal(422, "parameter_missing", "resource_type")),
    "no resources": (
        {"action_type": "create", "resource_type": "ledger_account"}, Refusal(422, "parameter_missing", "resources"),
    ),
    "another action": ({"action_type": "purge"}, Refusal(422, "parameter_invalid", "action_type")),
    "a resource that is not offered": (
        {"resource_type": "payment_order"}, Refusal(422, "parameter_invalid", "resource_type"),
    ),
    "a resource that is none": ({"resource_type": ""}, Refusal(422, "parameter_invalid", "resource_type")),
    "resource_type null": ({"resource_type": None}, Refusal(422, "parameter_invalid", "resource_type")),
    "no items": ({"resources": []}, Refusal(422, "parameter_invalid", "resources")),
    "too many items": ({"resources": [{}] * 10_001}, Refusal(422, "too_many_items", "resources")),
    "items that are no list": ({"resources": {}}, Refusal(422, "parameter_invalid", "resources")),
    "an item that is no object": ({"resources": [{}, []]}, Refusal(422, "parameter_invalid", "resources[1]")),
    "an item that is a text": ({"resources": ["{}"]}, Refusal(422, "parameter_invalid", "resources[0]")),
    "an item that is null": ({"resources": [None]}, Refusal(422, "parameter_invalid", "resources[0]")),
    "a text with NUL": ({"resources": [{"a": {"b": "\0"}}]}, Refusal(422, "invalid_text", "resources[0].a.b")),
    "a name with NUL": ({"resources": [{"a\0": 1}]}, Refusal(422, "invalid_text", "resources[0]")),
    "half a surrogate pair": ({"resources": [{"a": "\ud800"}]}, Refusal(422, "invalid_text", "resources[0].a")),
    "metadata that is no text": ({"metadata": {"a": 1}}, Refusal(422, "parameter_invalid", "metadata[...]")),
    "too much metadata": (
        {"metadata": {str(n): "x" for n in range(101)}}, Refusal(422, "metadata_too_large", "metadata"),
    ),
    "a field that is none": ({"resource": []}, Refusal(422, "parameter_unknown", "resource")),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
async def test_a_request_that_can_not_be_is_refused_whole(books: Books, name: str) -> None:
    body, expected = BAD[name]
    if name not in {"nothing", "no resource_type", "no resources"}:
        body = {"action_type": "create", "resource_type": "ledger_account", "resources": [{}], **body}
    before = await books.state()

    answer = await books.client.post("/api/bulk_requests", content=json.dumps(body), headers=JSON)

    assert refusal(answer) == expected
    assert await books.state() == before


async def test_texts_that_are_no_utf_8_are_refused_before_anyone_has_to_read_them(books: Books) -> None:
    before = await books.state()
    for item in (b'{"name": "\xff"}', b'{"\xff": 1}'):
        content = b'{"action_type": "create", "resource_type": "ledger_account", "resources": [' + item + b"]}"
        answer = await books.client.post("/api/bulk_requests", content=content, headers=JSON)
        assert refusal(answer) == Refusal(400, "invalid_json", None)
    assert await books.state() == before


async def test_a_request_of_10_000_items_is_taken(books: Books) -> None:
    accepted = await send(books, "delete", "ledger_account", [{"id": str(number)} for number in range(10_000)])
    assert accepted["total_resource_count"] == 10_000

    await work_off(books.service)

    told = await books.read(f"/bulk_requests/{accepted['id']}")
    assert (told["status"], told["failed_result_count"]) == ("completed", 10_000)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/bulk_requests", "id[]=x"), ("/bulk_requests", "action_type=creates"),
        ("/bulk_requests", "resource_type=payment_order"), ("/bulk_requests", "status=done"),
        ("/bulk_requests", "status=pending&status=completed"), ("/bulk_requests", "created_at=2024-01-01T00:00:00Z"),
        ("/bulk_requests", "created_at[gt]=now"), ("/bulk_requests", "metadata=x"),
        ("/bulk_requests", "per_page=0"), ("/bulk_results", "per_page=101"),
        ("/bulk_results", "request_id=x"), ("/bulk_results", "request_type=other"),
        ("/bulk_results", "entity_id=00000000000000000000000000000000"), ("/bulk_results", "entity_type=transaction"),
        ("/bulk_results", "status=posted"), ("/bulk_results", "status[]=failed"),
    ],
)  # fmt: skip
async def test_a_filter_with_a_value_that_can_not_be_is_refused(books: Books, path: str, query: str) -> None:
    answer = await books.get(f"{path}?{query}")
    assert refusal(answer).code in {"parameter_invalid", "parameter_unknown"}
    assert refusal(answer).parameter == query.rpartition("&")[2].partition("=")[0]


@pytest.mark.parametrize(
    "item",
    ['{"amount": 1e400}', '{"id": 1e400}', '{"id": ' + "9" * 5000 + "}", '{"id": {}}', '{"id": null}', '{"id": ""}',
     '{"id": "' + "x" * 3000 + '"}', '{"id": "a", "id": "b"}', '{"ledger_entries": 5, "ledger_id": 7}',
     '{"ledger_entries": [7]}', '{"": ""}', '{"id": "\\ud83d\\ude00"}',
     '{"ledger_entries": [{"ledger_account_id": 1}]}'],
)  # fmt: skip
async def test_whatever_an_item_holds_it_gets_a_result_that_can_be_read(books: Books, item: str) -> None:
    for action in ("create", "update", "delete"):
        for resource in ("ledger_transaction", "ledger_account"):
            content = f'{{"action_type": "{action}", "resource_type": "{resource}", "resources": [{item}]}}'
            answer = await books.client.post("/api/bulk_requests", content=content, headers=JSON)
            assert answer.status_code == 201, answer.text
            await work_off(books.service)
            shown = await books.get(f"/bulk_results?request_id={answer.json()['id']}")
            assert item.encode() in shown.content
            (found,) = json.loads(shown.content, parse_int=str)
            assert found["status"] == "failed"
            assert codes([found]) != ["internal_error"]
