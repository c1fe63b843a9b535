"""What tests of settlements over HTTP share: the requests in few words."""

from typing import Any

import httpx2

from tests.api.over_http import Books, Json

PATH = "/ledger_account_settlements"


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
