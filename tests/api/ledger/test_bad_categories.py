"""The chart of accounts asked for what can't be: out of shape, of nobody, of others, twice, without the right."""

import pytest

from tests.api.ledger.chart_books import CATEGORIES, member_path, put
from tests.api.over_http import Books, Json, Refusal, ids, refusal

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("change", "code", "parameter"),
    [
        ({"name": None}, "parameter_invalid", "name"), ({"name": ""}, "parameter_invalid", "name"),
        ({"name": "x" * 1001}, "parameter_invalid", "name"), ({"name": "a\x00"}, "invalid_text", "name"),
        ({"name": 7}, "parameter_invalid", "name"), ({"description": "x" * 1001}, "parameter_invalid", "description"),
        ({"ledger_id": "x"}, "object_not_found", "ledger_id"), ({"ledger_id": 7}, "parameter_invalid", "ledger_id"),
        ({"currency": "php"}, "invalid_currency", "currency"), ({"currency": "GOLD"}, "invalid_currency", "currency"),
        ({"currency_exponent": 3}, "invalid_currency", "currency"),
        ({"currency_exponent": 31}, "parameter_invalid", "currency_exponent"),
        ({"normal_balance": "both"}, "parameter_invalid", "normal_balance"),
        ({"external_id": ""}, "parameter_invalid", "external_id"),
        ({"external_id": "x" * 181}, "parameter_invalid", "external_id"),
        ({"ledger_account_category_ids": "x"}, "parameter_invalid", "ledger_account_category_ids"),
        ({"ledger_account_category_ids": [None]}, "parameter_invalid", "ledger_account_category_ids[0]"),
        ({"metadata": {"k": 7}}, "parameter_invalid", "metadata[...]"),
        ({"metadata": {"k": "x" * 1001}}, "metadata_too_large", "metadata.k"),
        ({"balances": {}}, "parameter_unknown", "balances"),
    ],
    ids=str,
)  # fmt: skip
async def test_a_category_out_of_shape_is_refused(books: Books, change: Json, code: str, parameter: str) -> None:
    ledger = await books.ledger()
    category = await books.category(ledger)
    before = await books.state()
    body = {"name": "x", "ledger_id": ledger["id"], "currency": "PHP", "normal_balance": "credit", **change}
    found = refusal(await books.post(CATEGORIES, body))
    assert (found.code, found.parameter) == (code, parameter)
    found = refusal(await books.patch(f"{CATEGORIES}/{category['id']}", change))
    changeable = {"name", "description", "external_id", "metadata"}
    assert found.code == (code if set(change) <= changeable else "parameter_unknown")
    assert await books.state() == before


@pytest.mark.parametrize("missing", ["name", "ledger_id", "currency", "normal_balance"])
async def test_a_category_without_what_it_needs_is_refused(books: Books, missing: str) -> None:
    ledger = await books.ledger()
    body = {"name": "x", "ledger_id": ledger["id"], "currency": "PHP", "normal_balance": "credit"}
    del body[missing]
    assert refusal(await books.post(CATEGORIES, body)) == Refusal(422, "parameter_missing", missing)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("ledger_account_id=x", "parameter_invalid"), ("ledger_account_id[]=x", "parameter_unknown"),
        ("parent_ledger_account_category_id=", "parameter_invalid"), ("id[]=1", "parameter_invalid"),
        ("name=a%00", "invalid_text"), ("discarded=yes", "parameter_invalid"), ("currencies=PHP", "parameter_unknown"),
        ("normal_balance=credit", "parameter_unknown"), ("after_cursor=x", "invalid_cursor"),
        ("per_page=101", "parameter_invalid"), ("metadata=x", "parameter_invalid"),
    ],
)  # fmt: skip
async def test_a_list_of_categories_refuses_what_it_does_not_have(books: Books, query: str, code: str) -> None:
    assert refusal(await books.get(f"{CATEGORIES}?{query}")).code == code


@pytest.mark.parametrize("path", ["ledger_accounts", "ledger_transactions", "ledger_entries"])
async def test_a_filter_by_category_takes_one_id(books: Books, path: str) -> None:
    for query in ("ledger_account_category_id=x", "ledger_account_category_id="):
        assert refusal(await books.get(f"/{path}?{query}")).code == "parameter_invalid"
    for query in ("ledger_account_category_id[]=x", "ledger_account_category_id[eq]=x"):
        assert refusal(await books.get(f"/{path}?{query}")).code == "parameter_unknown"
    nobodys = "65a1b2c3-0000-8000-8400-000000000400"
    assert await books.read(f"/{path}?ledger_account_category_id={nobodys}") == []


async def test_an_id_that_names_no_such_thing_is_not_found(books: Books) -> None:
    ledger, far = await books.ledger(), await books.ledger()
    category, away = await books.category(ledger), await books.category(far)
    account, outside = await books.account(ledger), await books.account(far)
    absent = {**category, "id": category["id"][:-12] + "0000001e8400"}
    another_second = {**category, "id": "00000001" + category["id"][8:]}
    before = await books.state()
    for wrong in (absent, another_second, {**account, "object": "ledger_account_category"}, {**category, "id": "x"}):
        for method, path, body in (
            ("GET", "", None), ("PATCH", "", {"name": "x"}), ("DELETE", "", None),
            ("PUT", f"/ledger_accounts/{account['id']}", None), ("DELETE", f"/ledger_accounts/{account['id']}", None),
            ("PUT", f"{CATEGORIES}/{category['id']}", None), ("DELETE", f"{CATEGORIES}/{category['id']}", None),
        ):  # fmt: skip
            answer = await books.client.request(method, f"/api{CATEGORIES}/{wrong['id']}{path}", json=body)
            assert refusal(answer) == Refusal(404, "object_not_found", None), (method, path)
    for member, parameter in (
        (away, "sub_category_id"), (absent, "sub_category_id"), (another_second, "sub_category_id"),
        ({**category, "id": account["id"]}, "sub_category_id"), (outside, "ledger_account_id"),
        ({**account, "id": category["id"]}, "ledger_account_id"),
        ({**account, "id": "00000001" + account["id"][8:]}, "ledger_account_id"),
        ({**account, "id": "x"}, "ledger_account_id"),
    ):  # fmt: skip
        expected = Refusal(404, "object_not_found", parameter)
        assert refusal(await put(books, category, member)) == expected
        assert refusal(await books.delete(member_path(category, member))) == expected
    assert await books.state() == before


async def test_nothing_of_anothers_chart_is_seen_or_touched(books: Books, others: Books) -> None:
    ledger, far = await books.ledger(), await others.ledger()
    ours, theirs = await books.category(ledger), await others.category(far)
    low = await others.category(far, theirs)
    account, their_account = await books.account(ledger), await others.account(far)
    await others.client.put(f"/api{member_path(theirs, their_account)}")
    cash = await others.account(far)
    await others.transfer(cash, their_account)
    nobodys = {**theirs, "id": f"{theirs['id'][:9]}0000-8000-8000{theirs['id'][23:]}"}
    before = await books.state()
    for method, path, body in (
        ("GET", "{}", None), ("PATCH", "{}", {"name": "x"}), ("DELETE", "{}", None),
        ("PUT", f"{{}}/ledger_accounts/{account['id']}", None), ("DELETE", f"{{}}{CATEGORIES}/{ours['id']}", None),
        ("PUT", f"{{}}/ledger_accounts/{their_account['id']}", None),
        ("PUT", f"{ours['id']}{CATEGORIES}/{{}}", None), ("DELETE", f"{ours['id']}{CATEGORIES}/{{}}", None),
    ):  # fmt: skip
        told = []
        for id_ in (theirs["id"], nobodys["id"]):
            answer = await books.client.request(method, f"/api{CATEGORIES}/{path.format(id_)}", json=body)
            assert refusal(answer).status == 404
            told.append(answer.text.replace(id_, "ID"))
        assert told[0] == told[1]
    refused = await books.client.put(f"/api{member_path(ours, their_account)}")
    assert refusal(refused) == Refusal(404, "object_not_found", "ledger_account_id")
    body = {"name": "x", "ledger_id": ledger["id"], "currency": "PHP", "normal_balance": "credit"}
    for path in ("/ledger_accounts", CATEGORIES):
        answer = await books.post(path, {**body, "ledger_account_category_ids": [theirs["id"]]})
        assert refusal(answer) == Refusal(404, "object_not_found", "ledger_account_category_ids[0]")
    assert refusal(await books.post(CATEGORIES, {**body, "ledger_id": far["id"]})).parameter == "ledger_id"
    assert await books.state() == before
    assert ids(await books.get(CATEGORIES)) == [ours["id"]]
    for query in (
        f"{CATEGORIES}?id[]={theirs['id']}", f"{CATEGORIES}?ledger_id={far['id']}",
        f"{CATEGORIES}?ledger_account_id={their_account['id']}",
        f"{CATEGORIES}?parent_ledger_account_category_id={theirs['id']}",
        f"/ledger_accounts?ledger_account_category_id={theirs['id']}",
        f"/ledger_transactions?ledger_account_category_id={theirs['id']}",
        f"/ledger_entries?ledger_account_category_id={theirs['id']}",
    ):  # fmt: skip
        assert await books.read(query) == [], query
    assert ids(await others.get(f"{CATEGORIES}?parent_ledger_account_category_id={theirs['id']}")) == [low["id"]]


async def test_each_write_is_done_once_by_its_key_and_answered_alike(books: Books) -> None:
    ledger = await books.ledger()
    top, low = await books.category(ledger), await books.category(ledger)
    account = await books.account(ledger)
    body = {"name": "x", "ledger_id": ledger["id"], "currency": "PHP", "normal_balance": "credit",
            "ledger_account_category_ids": [top["id"]]}  # fmt: skip
    path = f"{CATEGORIES}/{low['id']}"
    for method, where, sent, other in (
        ("POST", CATEGORIES, body, {**body, "name": "y"}),
        ("PATCH", path, {"name": "y"}, {"name": "z"}),
        ("PUT", member_path(low, account), None, member_path(top, account)),
        ("DELETE", member_path(low, account), None, member_path(top, account)),
        ("PUT", member_path(top, low), None, member_path(low, top)),
        ("DELETE", member_path(top, low), None, member_path(low, top)),
        ("DELETE", path, None, f"{CATEGORIES}/{top['id']}"),
    ):  # fmt: skip
        headers = {"Idempotency-Key": f"key of {method} {where}"}
        first = await books.client.request(method, f"/api{where}", json=sent, headers=headers)
        assert first.is_success, first.text
        # Undone meanwhile, it is not done again.
        if method == "PUT":
            await books.delete(where)
        before = await books.state()
        again = await books.client.request(method, f"/api{where}", json=sent, headers=headers)
        assert (again.status_code, again.content) == (first.status_code, first.content)
        changed, target = (other, where) if sent is not None else (None, other)
        reused = await books.client.request(method, f"/api{target}", json=changed, headers=headers)
        assert refusal(reused) == Refusal(422, "idempotency_key_reused", None)
        assert await books.state() == before
        if method == "PUT":
            await put(books, *((low, account) if "/ledger_accounts/" in where else (top, low)))


async def test_a_key_that_may_only_read_changes_nothing(books: Books) -> None:
    ledger = await books.ledger()
    top, low = await books.category(ledger), await books.category(ledger)
    account = await books.account(ledger)
    reader = (str(books.organization_id), await books.key("read"))
    for method, path in (
        ("POST", CATEGORIES), ("PATCH", f"{CATEGORIES}/{low['id']}"), ("DELETE", f"{CATEGORIES}/{low['id']}"),
        ("PUT", member_path(low, account)), ("DELETE", member_path(low, account)),
        ("PUT", member_path(top, low)), ("DELETE", member_path(top, low)),
    ):  # fmt: skip
        answer = await books.client.request(method, f"/api{path}", json={}, auth=reader)
        assert refusal(answer).code == "role_insufficient"
    assert (await books.client.get(f"/api{CATEGORIES}/{top['id']}", auth=reader)).json() == top
