"""Lists of bulk requests and results: filters, pages, and whose they are."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from doppia.accounting.platform.bulk import ERROR, result_id
from tests.api.over_http import Books, Json, Refusal, entry, ids, pair, refusal
from tests.api.platform.bulk_books import codes, done, results, send, work_off

pytestmark = pytest.mark.anyio


async def furnished(books: Books) -> dict[str, Json]:
    """Send one bulk request of each kind; the last is not worked off."""
    cash, wallet = await books.cash_and_wallet()
    account = {"name": "n", "ledger_id": cash["ledger_id"], "currency": "PHP", "normal_balance": "credit"}
    moved = {"ledger_entries": pair(cash, wallet)}
    sent = {
        "moved": await send(books, "create", "ledger_transaction", [moved, {}, moved], metadata={"a": "1", "b": "2"}),
        "opened": await send(books, "create", "ledger_account", [account, {}], metadata={"a": "1"}),
        "renamed": await send(books, "update", "ledger_account", [{"id": cash["id"], "name": "x"}]),
        "deleted": await send(books, "delete", "ledger_account", [{"id": wallet["id"]}]),
    }
    await work_off(books.service)
    sent["waiting"] = await send(books, "delete", "ledger_transaction", [{"id": cash["id"]}] * 2)
    return sent


async def test_requests_are_listed_by_every_filter(books: Books) -> None:
    sent = await furnished(books)
    at = {name: datetime.fromisoformat(request["created_at"]) for name, request in sent.items()}

    def time(name: str, seconds: int = 0) -> str:
        return (at[name] + timedelta(seconds=seconds)).isoformat().replace("+", "%2B")

    everything = ["waiting", "deleted", "renamed", "opened", "moved"]
    for query, expected in {
        "": everything,
        f"id[]={sent['opened']['id']}&id[]={sent['moved']['id'].upper()}&id={uuid4()}": ["opened", "moved"],
        "action_type=create": ["opened", "moved"],
        "action_type=update": ["renamed"],
        "action_type=delete": ["waiting", "deleted"],
        "resource_type=ledger_account": ["deleted", "renamed", "opened"],
        "resource_type=ledger_transaction&action_type=delete": ["waiting"],
        "status=pending": ["waiting"],
        "status=processing": [],
        "status=completed": everything[1:],
        "metadata[a]=1": ["opened", "moved"],
        "metadata[a]=1&metadata[b]=2": ["moved"],
        "metadata[c]=1": [],
        f"created_at[lt]={time('renamed')}": ["opened", "moved"],
        f"created_at[gte]={time('renamed')}&created_at[lt]={time('waiting')}": ["deleted", "renamed"],
        f"created_at[gt]={time('waiting')}": [],
        f"created_at[eq]={time('opened')}": ["opened"],
    }.items():
        assert ids(await books.get(f"/bulk_requests?{query}")) == [sent[name]["id"] for name in expected], query


async def test_results_are_listed_by_every_filter(books: Books) -> None:
    sent = await furnished(books)
    found = {name: await results(books, request) for name, request in sent.items()}
    moved, opened, renamed, deleted, waiting = found.values()
    everything = [one for results_ in found.values() for one in results_][::-1]

    for query, expected in {
        "": everything,
        f"request_id={sent['opened']['id']}": opened[::-1],
        f"request_id={uuid4()}": [],
        "request_type=bulk_request": everything,
        f"entity_id={moved[2]['entity_id']}": [moved[2]],
        f"entity_id={moved[1]['entity_id']}": [moved[1]],
        f"entity_id={renamed[0]['entity_id']}": renamed,
        f"entity_id={uuid4()}": [],
        "entity_type=bulk_error": [*deleted, opened[1], moved[1]],
        "entity_type=ledger_account": [*renamed, opened[0]],
        "entity_type=ledger_transaction": [*waiting[::-1], moved[2], moved[0]],
        "entity_type=ledger_transaction&status=successful": [moved[2], moved[0]],
        "status=pending": waiting[::-1],
        "status=failed": [*deleted, opened[1], moved[1]],
        f"status=successful&request_id={sent['moved']['id']}": [moved[2], moved[0]],
    }.items():
        shown = await books.read(f"/bulk_results?per_page=100&{query}")
        assert shown == expected, query


@pytest.mark.parametrize("per_page", [1, 2, 5])
async def test_pages_return_each_row_once_while_others_are_added_and_done(books: Books, per_page: int) -> None:
    await furnished(books)
    for path in ("/bulk_requests", "/bulk_results"):
        rows = ids(await books.get(f"{path}?per_page=100"))
        found: list[str] = []
        cursor = ""
        while True:
            answer = await books.get(f"{path}?per_page={per_page}{cursor}")
            assert answer.headers["X-Per-Page"] == str(per_page)
            found += ids(answer)
            if "X-After-Cursor" not in answer.headers:
                break
            cursor = f"&after_cursor={answer.headers['X-After-Cursor']}"
            await done(books, "create", "ledger_account", [{}, {}])
        assert found == rows


async def test_a_cursor_of_another_list_is_refused(books: Books) -> None:
    await furnished(books)
    cursor = (await books.get("/bulk_results?per_page=1")).headers["X-After-Cursor"]
    expected = Refusal(422, "invalid_cursor", "after_cursor")

    assert refusal(await books.get(f"/bulk_requests?after_cursor={cursor}")) == expected
    assert refusal(await books.get(f"/bulk_results?status=failed&after_cursor={cursor}")) == expected
    assert (await books.get(f"/bulk_results?after_cursor={cursor}")).status_code == 200


async def test_nothing_of_anothers_is_read_listed_or_changed(books: Books, others: Books) -> None:
    theirs = await furnished(others)
    result = (await results(others, theirs["moved"]))[0]
    for path, kind, id_ in (
        ("/bulk_requests", "bulk_request", theirs["moved"]["id"]),
        ("/bulk_results", "bulk_result", result["id"]),
    ):
        answer = await books.get(f"{path}/{id_}")
        assert refusal(answer) == Refusal(404, "object_not_found", None)
        nobodys = await books.get(f"{path}/{uuid4()}")
        assert answer.text.replace(id_, "") == nobodys.text.replace(nobodys.json()["errors"]["refusal"]["id"], "")
        assert answer.json()["errors"]["refusal"]["object"] == kind
        assert await books.read(path) == []
    assert await books.read(f"/bulk_requests?id[]={theirs['moved']['id']}") == []
    assert await books.read(f"/bulk_results?request_id={theirs['moved']['id']}") == []
    assert await books.read(f"/bulk_results?entity_id={result['entity_id']}") == []

    account = (await others.read("/ledger_accounts"))[0]
    legs = [entry(account, "debit"), entry(account, "credit")]
    held = result["entity"]
    before = await others.read(f"/ledger_accounts/{account['id']}")
    assert codes(await done(books, "create", "ledger_transaction", [{"ledger_entries": legs}])) == ["object_not_found"]
    for action, resource, id_ in (
        ("update", "ledger_transaction", held["id"]), ("delete", "ledger_transaction", held["id"]),
        ("update", "ledger_account", account["id"]), ("delete", "ledger_account", account["id"]),
    ):  # fmt: skip
        assert codes(await done(books, action, resource, [{"id": id_}])) == ["object_not_found"]
    assert await others.read(f"/ledger_accounts/{account['id']}") == before


async def test_a_purge_forgets_nothing_of_another_organization(books: Books, others: Books) -> None:
    cash, _ = await books.cash_and_wallet()
    found = await done(others, "update", "ledger_account", [{"id": cash["id"], "name": "x"}])
    assert (await books.delete(f"/ledgers/{cash['ledger_id']}?purge=true&confirm={cash['ledger_id']}")).is_success

    assert await others.read(f"/bulk_results/{found[0]['id']}") == found[0]


async def test_a_key_that_may_only_read_sees_and_sends_nothing(books: Books) -> None:
    sent = await furnished(books)
    books.client.auth = (str(books.organization_id), await books.key("read"))

    body = {"action_type": "create", "resource_type": "ledger_account", "resources": [{}]}
    assert refusal(await books.post("/bulk_requests", body)) == Refusal(403, "role_insufficient", None)
    for path in ("/bulk_requests", "/bulk_results", f"/bulk_requests/{sent['moved']['id']}"):
        assert (await books.get(path)).status_code == 200


async def test_an_id_of_something_else_is_not_found(books: Books) -> None:
    request = (await furnished(books))["moved"]
    result = (await results(books, request))[0]
    assert UUID(result["id"]) == result_id(UUID(request["id"]), 1)
    for path in (
        f"/bulk_requests/{result['id']}",
        f"/bulk_requests/{uuid4()}",
        f"/bulk_requests/{result['entity_id']}",
        "/bulk_requests/x",
        f"/bulk_requests/{request['id'].replace('-', '')}",
        f"/bulk_results/{request['id']}",
        f"/bulk_results/{result['entity_id']}",
        f"/bulk_results/{result_id(UUID(request['id']), 4)}",
        f"/bulk_results/{result_id(UUID(request['id']), ERROR + 1)}",
        "/bulk_results/%00",
    ):
        assert refusal(await books.get(path)) == Refusal(404, "object_not_found", None), path
    assert (await books.get(f"/bulk_requests/{request['id'].upper()}")).json()["id"] == request["id"]
