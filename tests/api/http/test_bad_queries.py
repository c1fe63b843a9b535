"""Queries that can't be: each is refused by the name of its parameter."""

from typing import Any

import pytest

from tests.api.over_http import Books, Refusal, refusal

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("path", "name", "suggestion"),
    [
        ("/ledger_transactions", "ledger_acount_id", "ledger_account_id"),
        ("/ledger_transactions", "stauts", "status"),
        ("/ledger_transactions", "effective", "effective_at"),
        ("/ledger_transactions", "per-page", "per_page"),
        ("/ledger_transactions", "cursor", "after_cursor"),
        ("/ledger_transactions", "meta[a]", "metadata"),
        ("/ledger_transactions", "ledger_account_ids", "ledger_account_id"),
        ("/ledger_accounts", "Name", "name"),
        ("/ledger_accounts", "curency", "currency"),
        ("/ledgers", "page", "per_page"),
        ("/ledgers", "xyzzy", None),
        ("/ledgers", "", None),
        ("/ledger_entries", "show_balance", "show_balances"),
        ("/ledger_entries", "show_deletd", "show_deleted"),
        ("/ledger_entries", "amount_string", "amount"),
    ],
)
async def test_an_unknown_filter_is_refused_with_the_near_one(
    books: Books, path: str, name: str, suggestion: str | None
) -> None:
    answer = await books.client.get(f"/api{path}", params={name: "x"})
    assert refusal(answer) == Refusal(422, "parameter_unknown", name)
    assert answer.json()["errors"]["refusal"]["suggestion"] == suggestion
    assert (suggestion is None) or (suggestion in answer.json()["errors"]["message"])


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/ledger_transactions", "status=Posted"), ("/ledger_transactions", "status="),
        ("/ledger_transactions", "amount=5"), ("/ledger_transactions", "amount[]=5"),
        ("/ledger_transactions", "amount[not_eq]=5"), ("/ledger_transactions", "amount[gt]=5.0"),
        ("/ledger_transactions", "amount[gt]=1e3"), ("/ledger_transactions", "amount[gt]="),
        ("/ledger_transactions", "amount[gt]=%D9%A5"), ("/ledger_transactions", "amount[gt]=--5"),
        ("/ledger_transactions", "amount[gt]=" + "9" * 5000), ("/ledger_transactions", "amount[gt]=1_000"),
        ("/ledger_transactions", "amount[gt][lt]=5"), ("/ledger_transactions", "amount[=5"),
        ("/ledger_transactions", "amount[gt=5"), ("/ledger_transactions", "effective_at=2024-01-01T00:00:00Z"),
        ("/ledger_transactions", "effective_at[gt]=2024-13-01T00:00:00Z"),
        ("/ledger_transactions", "effective_at[gt]=0000-01-01T00:00:00Z"),
        ("/ledger_transactions", "effective_at[gt]=2024-01-01"), ("/ledger_transactions", "effective_at[gt]=now"),
        ("/ledger_transactions", "effective_at[gt]=2024-01-01T00:00:00%2B99:99"),
        ("/ledger_transactions", "effective_at[gt]=0001-01-01T00:00:00%2B10:00"),
        ("/ledger_transactions", "effective_at[gt]=9999-12-31T23:59:59-10:00"),
        ("/ledger_transactions", "effective_date[gt]=2024-01-01T00:00"),
        ("/ledger_transactions", "effective_date[gt]=2024-02-30"),
        ("/ledger_transactions", "effective_date[gt]=0000-01-01"),
        ("/ledger_transactions", "ledger_id=x"), ("/ledger_transactions", "id[]=1"),
        ("/ledger_transactions", "ledger_account_id="), ("/ledger_transactions", "id[x]=1"),
        ("/ledger_transactions", "order_by=created_at"), ("/ledger_transactions", "order_by[amount]=asc"),
        ("/ledger_transactions", "order_by[created_at]=up"),
        ("/ledger_transactions", "order_by[created_at]=asc&order_by[effective_at]=asc"),
        ("/ledger_transactions", "external_id=a&external_id=b"), ("/ledger_transactions", "external_id[]=a"),
        ("/ledger_transactions", "ledger_id=00000000-0000-0000-0000-000000000000&ledger_id=1"),
        ("/ledger_transactions", "metadata=x"), ("/ledger_transactions", "metadata[]=x"),
        ("/ledger_transactions", "metadata[k=x"), ("/ledger_transactions", "posted_at[eq]=null"),
        ("/ledger_entries", "direction=up"), ("/ledger_entries", "direction[]=credit"),
        ("/ledger_entries", "show_deleted=1"), ("/ledger_entries", "show_deleted=TRUE"),
        ("/ledger_entries", "show_balances="), ("/ledger_entries", "as_of_lock_version=1"),
        ("/ledger_entries", "as_of_lock_version=-1"), ("/ledger_entries", "as_of_lock_version=9223372036854775808"),
        ("/ledger_entries", "ledger_account_lock_version=1"),
        ("/ledger_entries", "ledger_account_lock_version[eq]=9223372036854775808"),
        ("/ledger_accounts", "normal_balance=both"), ("/ledger_accounts", "currency[]=PHP"),
        ("/ledger_accounts", "discarded=no"), ("/ledger_accounts", "name[x]=y"),
        ("/ledgers", "updated_at[gt]=tomorrow"), ("/ledgers", "id=ledger"),
        ("/ledgers", "%FF=1"), ("/ledgers", "metadata[a]=%FF"), ("/ledgers", "metadata[a]=%ED%A0%80"),
        ("/ledgers", "&".join(["id[]=00000000-0000-0000-0000-000000000000"] * 500)),
    ],
)  # fmt: skip
async def test_a_filter_that_cannot_be_is_refused_by_its_name(books: Books, path: str, query: str) -> None:
    answer = await books.get(f"{path}?{query}")
    told = refusal(answer)
    assert told.status == 422
    assert told.code in {"parameter_invalid", "parameter_unknown", "invalid_text"}
    assert told.parameter is not None
    assert told.parameter == "query" or told.parameter.partition("[")[0] in query


@pytest.mark.parametrize("text", ["a\x00b", "\x00"])
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/ledger_transactions", "external_id"), ("/ledger_transactions", "ledgerable_type"),
        ("/ledger_transactions", "metadata[k]"), ("/ledger_accounts", "name[]"), ("/ledger_accounts", "currency"),
        ("/ledgers", "metadata[k]"),
    ],
)  # fmt: skip
async def test_a_nul_in_a_filter_is_refused(books: Books, path: str, name: str, text: str) -> None:
    answer = await books.client.get(f"/api{path}", params={name: text})
    assert refusal(answer) == Refusal(422, "invalid_text", name)


async def test_a_nul_in_the_key_of_a_metadata_filter_is_refused(books: Books) -> None:
    assert refusal(await books.client.get("/api/ledgers", params={"metadata[\x00]": "x"})).code == "invalid_text"


@pytest.mark.parametrize(
    "path",
    ["/ledgers/{}", "/ledger_accounts/{}", "/ledger_transactions/{}", "/ping"],
)
async def test_a_parameter_of_a_route_that_takes_none_is_refused(books: Books, path: str) -> None:
    made = await books.ledger()
    answer = await books.get(f"{path.format(made['id'])}?expand=all")
    assert refusal(answer) == Refusal(422, "parameter_unknown", "expand")


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/ledgers/{}?purg=true"), ("DELETE", "/ledgers/{}?purge=yes"),
                         ("PATCH", "/ledgers/{}?dry_run=true"), ("POST", "/ledgers?x=1")],
)  # fmt: skip
async def test_a_wrong_parameter_of_a_write_stops_it(books: Books, method: str, path: str) -> None:
    made = await books.ledger()
    before = await books.state()
    body: Any = None if method == "DELETE" else {"name": "x"}
    answer = await books.client.request(method, f"/api{path.format(made['id'])}", json=body)
    assert refusal(answer).status == 422
    assert await books.state() == before


async def test_a_long_query_is_answered(books: Books) -> None:
    for query in ("external_id=" + "x" * 60_000, "x" * 60_000, "metadata[" + "k" * 60_000 + "]=v"):
        answer = await books.get(f"/ledger_transactions?{query}")
        assert answer.status_code in {200, 422}
        assert len(answer.content) < 2000
    deep = "amount" + "[gt]" * 10_000 + "=1"
    assert refusal(await books.get(f"/ledger_transactions?{deep}")).status == 422


@pytest.mark.parametrize(
    "text",
    ["x", "1", "null", "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-8fff-bfff-ffffffffffff", "%00", "%FF",
     "..%2F..", "é", "x" * 5000, "{65a1b2c3-0000-8000-8400-000000000400}", "65a1b2c3000080008400000000000400"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["ledgers", "ledger_accounts", "ledger_transactions", "ledger_entries"])
async def test_an_id_that_cannot_be_is_an_unknown_one(books: Books, kind: str, text: str) -> None:
    before = await books.state()
    for method in ("GET", "PATCH", "DELETE"):
        if method == "DELETE" and kind in {"ledger_transactions", "ledger_entries"}:
            continue
        body: Any = {} if method == "PATCH" else None
        answer = await books.client.request(method, f"/api/{kind}/{text}", json=body)
        assert refusal(answer).status == 404
        assert refusal(answer).code in {"object_not_found", "route_not_found"}
        assert len(answer.content) < 1000
    assert await books.state() == before


async def test_an_id_of_another_kind_or_another_second_is_an_unknown_one(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet)
    found = {
        "ledgers": cash["ledger_id"], "ledger_accounts": cash["id"],
        "ledger_transactions": made["id"], "ledger_entries": made["ledger_entries"][0]["id"],
    }  # fmt: skip
    for kind, own in found.items():
        for other, id_ in found.items():
            wanted = id_ if kind != other else f"00000001{id_[8:]}"
            answer = await books.get(f"/{kind}/{wanted}")
            assert refusal(answer).code == "object_not_found", (kind, other)
        assert (await books.get(f"/{kind}/{own.upper()}")).status_code == 200
