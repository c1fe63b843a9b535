"""Balance monitors over HTTP: every route, field and filter, what is refused, and whose they are."""

import asyncio
from typing import Any

import pytest

from tests.api.over_http import Books, Json, Refusal, ids, refusal

pytestmark = pytest.mark.anyio

PATH = "/ledger_account_balance_monitors"
CONDITION = {"field": "available_balance_amount", "operator": "less_than", "value": 100}


async def watch(books: Books, account: Json, **fields: Any) -> Json:
    answer = await books.post(PATH, {"ledger_account_id": account["id"], "alert_condition": CONDITION, **fields})
    assert answer.status_code == 201, answer.text
    made: Json = answer.json()
    return made


async def triggered(books: Books, monitor: Json) -> bool:
    state: Json = (await books.read(f"{PATH}/{monitor['id']}"))["current_ledger_account_balance_state"]
    found: bool = state["triggered"]
    return found


async def test_a_monitor_has_the_fields_of_the_wire_format(books: Books) -> None:
    _, wallet = await books.cash_and_wallet()

    made = await watch(books, wallet, description="runs low", metadata={"b": "2", "a": "1", "none": None})

    balances = (await books.read(f"/ledger_accounts/{wallet['id']}"))["balances"]
    assert made == {
        "id": made["id"],
        "object": "ledger_account_balance_monitor",
        "live_mode": True,
        "created_at": made["created_at"],
        "updated_at": made["created_at"],
        "ledger_account_id": wallet["id"],
        "description": "runs low",
        "alert_condition": CONDITION,
        "current_ledger_account_balance_state": {
            "balances": balances,
            "ledger_account_lock_version": 0,
            "triggered": True,
        },
        "metadata": {"a": "1", "b": "2"},
        "discarded_at": None,
    }
    assert await books.read(f"{PATH}/{made['id']}") == made
    assert await books.read(PATH) == [made]


async def test_the_state_follows_the_account(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await watch(books, wallet)

    await books.transfer(cash, wallet, 150)
    after = await books.read(f"{PATH}/{made['id']}")
    assert after["current_ledger_account_balance_state"] == {
        "balances": (await books.read(f"/ledger_accounts/{wallet['id']}"))["balances"],
        "ledger_account_lock_version": 1,
        "triggered": False,
    }
    assert after["updated_at"] > made["updated_at"]

    hold = await books.transfer(wallet, cash, 51, "pending")
    assert await triggered(books, made)
    await books.patch(f"/ledger_transactions/{hold['id']}", {"status": "archived"})
    assert not await triggered(books, made)
    await books.transfer(wallet, cash, 150)
    assert await triggered(books, made)
    undone = (await books.read("/ledger_transactions?per_page=1"))[0]
    await books.post(f"/ledger_transactions/{undone['id']}/reversal", {})
    assert not await triggered(books, made)


async def test_description_and_metadata_change_and_nothing_else_does(books: Books) -> None:
    _, wallet = await books.cash_and_wallet()
    made = await watch(books, wallet, description="a", metadata={"k": "v", "l": "w"})

    changed = (await books.patch(f"{PATH}/{made['id']}", {"description": "b", "metadata": {"k": "", "m": "x"}})).json()
    assert changed == {
        **made,
        "description": "b",
        "metadata": {"l": "w", "m": "x"},
        "updated_at": changed["updated_at"],
    }
    cleared = (await books.patch(f"{PATH}/{made['id']}", {"description": None, "metadata": None})).json()
    assert (cleared["description"], cleared["metadata"]) == (None, {"l": "w", "m": "x"})
    same = (await books.patch(f"{PATH}/{made['id']}", {})).json()
    assert same == {**cleared, "updated_at": same["updated_at"]}
    for fixed in ("alert_condition", "ledger_account_id", "triggered"):
        before = await books.state()
        answer = await books.patch(f"{PATH}/{made['id']}", {fixed: made.get(fixed)})
        assert refusal(answer) == Refusal(422, "parameter_unknown", fixed)
        assert await books.state() == before


async def test_a_discarded_monitor_stays_to_be_read_and_changes_no_more(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await watch(books, wallet)

    gone = (await books.delete(f"{PATH}/{made['id']}")).json()

    assert gone == {**made, "updated_at": gone["updated_at"], "discarded_at": gone["updated_at"]}
    before = await books.state()
    assert (await books.delete(f"{PATH}/{made['id']}")).json() == gone
    assert refusal(await books.patch(f"{PATH}/{made['id']}", {"description": "x"})) == Refusal(
        422, "object_discarded", None
    )
    assert await books.state() == before
    await books.transfer(cash, wallet, 500)
    shown = await books.read(f"{PATH}/{made['id']}")
    assert shown["updated_at"] == gone["updated_at"]
    # It tells of the account as it stands, like any other.
    assert not shown["current_ledger_account_balance_state"]["triggered"]
    assert await books.read(f"{PATH}?discarded=false") == []
    assert await books.read(f"{PATH}?discarded=true") == await books.read(PATH) == [shown]


async def test_lists_are_filtered_and_paged_newest_first(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    other = await books.account(await books.ledger())
    made = [
        await watch(books, account, metadata={"place": str(number % 2)})
        for number, account in enumerate([cash, wallet, other, wallet, wallet, other])
    ]

    assert ids(await books.get(PATH)) == ids(made[::-1])
    assert ids(await books.get(f"{PATH}?ledger_account_id={wallet['id']}")) == ids([made[4], made[3], made[1]])
    assert ids(await books.get(f"{PATH}?metadata[place]=1")) == ids([made[5], made[3], made[1]])
    assert ids(await books.get(f"{PATH}?metadata[place]=0&ledger_account_id={wallet['id']}")) == ids([made[4]])
    assert ids(await books.get(f"{PATH}?id[]={made[0]['id']}&id[]={made[5]['id']}")) == ids([made[5], made[0]])
    assert ids(await books.get(f"{PATH}?id={made[2]['id']}&ledger_account_id={wallet['id']}")) == []
    for query, expected in (("", made[::-1]), (f"&ledger_account_id={wallet['id']}", [made[4], made[3], made[1]])):
        pages = await books.pages(f"{PATH}?per_page=2{query}")
        assert [row for page in pages for row in page] == expected
        assert {len(page) for page in pages[:-1]} == {2}


@pytest.mark.parametrize("value", [10**36, -(10**36), 10**45, -(10**45), 2**53 + 1, -(2**63) - 1])
async def test_a_value_is_exact_to_10_to_the_45_and_compared_exactly(books: Books, value: int) -> None:
    _, wallet = await books.cash_and_wallet()
    condition = {"field": "posted_balance_amount", "operator": "greater_than", "value": value}
    made = await watch(books, wallet, alert_condition=condition)
    assert made["alert_condition"] == condition
    assert f'"value":{value}}}' in (await books.get(f"{PATH}/{made['id']}")).text
    assert await triggered(books, made) == (value < 0)


async def test_the_largest_amounts_cross_by_one(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    largest = 10**36
    above = {"field": "posted_balance_amount", "operator": "greater_than", "value": 2 * largest}
    at_least = {"field": "pending_balance_amount", "operator": "greater_than_or_equals", "value": 2 * largest + 1}
    watching = [await watch(books, wallet, alert_condition=above), await watch(books, cash, alert_condition=at_least)]
    for amount, crossed in ((largest, False), (largest, False), (1, True)):
        await books.transfer(cash, wallet, amount)
        assert [await triggered(books, monitor) for monitor in watching] == [crossed, crossed]
    balances = (await books.read(f"{PATH}/{watching[0]['id']}"))["current_ledger_account_balance_state"]["balances"]
    assert balances["posted_balance"]["amount_string"] == str(2 * largest + 1)


@pytest.mark.parametrize(
    ("body", "code", "parameter"),
    [
        ({"ledger_account_id": None}, "parameter_invalid", "ledger_account_id"),
        ({"ledger_account_id": 5}, "parameter_invalid", "ledger_account_id"),
        ({"ledger_account_id": ...}, "parameter_missing", "ledger_account_id"),
        ({"alert_condition": ...}, "parameter_missing", "alert_condition"),
        ({"alert_condition": None}, "parameter_invalid", "alert_condition"),
        ({"alert_condition": []}, "parameter_invalid", "alert_condition"),
        ({"alert_condition": {}}, "parameter_missing", "alert_condition.field"),
        ({"field": "available_amount"}, "parameter_invalid", "alert_condition.field"),
        ({"field": None}, "parameter_invalid", "alert_condition.field"),
        ({"operator": "not_equals"}, "parameter_invalid", "alert_condition.operator"),
        ({"operator": "<"}, "parameter_invalid", "alert_condition.operator"),
        ({"operator": ...}, "parameter_missing", "alert_condition.operator"),
        ({"value": ...}, "parameter_missing", "alert_condition.value"),
        ({"value": None}, "parameter_invalid", "alert_condition.value"),
        ({"value": "100"}, "parameter_invalid", "alert_condition.value"),
        ({"value": 1.5}, "parameter_invalid", "alert_condition.value"),
        ({"value": True}, "parameter_invalid", "alert_condition.value"),
        ({"value": 10**45 + 1}, "parameter_invalid", "alert_condition.value"),
        ({"value": -(10**45) - 1}, "parameter_invalid", "alert_condition.value"),
        ({"value": 10**400}, "parameter_invalid", "alert_condition.value"),
        ({"currency": "PHP"}, "parameter_unknown", "alert_condition.currency"),
        ({"ledger_id": "x"}, "parameter_unknown", "ledger_id"),
        ({"description": "x" * 1001}, "parameter_invalid", "description"),
        ({"description": "a\x00b"}, "invalid_text", "description"),
        ({"description": 5}, "parameter_invalid", "description"),
        ({"metadata": {"k": "x" * 1001}}, "metadata_too_large", "metadata.k"),
        ({"metadata": {"": "x"}}, "metadata_too_large", "metadata"),
        ({"metadata": {str(n): "x" for n in range(101)}}, "metadata_too_large", "metadata"),
        ({"metadata": {"k": 5}}, "parameter_invalid", "metadata[...]"),
        ({"metadata": {"k\x00": "v"}}, "invalid_text", "metadata"),
    ],
)  # fmt: skip
async def test_what_can_not_be_a_monitor_is_refused_by_name(
    books: Books, body: Json, code: str, parameter: str
) -> None:
    _, wallet = await books.cash_and_wallet()
    before = await books.state()
    sent: Json = {"ledger_account_id": wallet["id"], "alert_condition": dict(CONDITION)}
    for name, value in body.items():
        within = sent["alert_condition"] if name in {"field", "operator", "value", "currency"} else sent
        within[name] = value
        if value is ...:
            del within[name]
    assert refusal(await books.post(PATH, sent)) == Refusal(422, code, parameter)
    assert await books.state() == before


@pytest.mark.parametrize(
    ("body", "code", "parameter"),
    [
        ({"description": 5}, "parameter_invalid", "description"),
        ({"description": "x" * 1001}, "parameter_invalid", "description"),
        ({"description": "\x00"}, "invalid_text", "description"),
        ({"metadata": []}, "parameter_invalid", "metadata"),
        ({"metadata": {str(n): "x" for n in range(101)}}, "metadata_too_large", "metadata"),
        ({"value": 5}, "parameter_unknown", "value"),
    ],
)
async def test_a_change_that_can_not_be_is_refused_by_name(books: Books, body: Json, code: str, parameter: str) -> None:
    _, wallet = await books.cash_and_wallet()
    made = await watch(books, wallet, metadata={"k": "v"})
    before = await books.state()
    assert refusal(await books.patch(f"{PATH}/{made['id']}", body)) == Refusal(422, code, parameter)
    assert await books.state() == before


async def test_metadata_that_would_grow_too_large_by_a_change_is_refused(books: Books) -> None:
    _, wallet = await books.cash_and_wallet()
    made = await watch(books, wallet, metadata={str(n): "x" for n in range(100)})
    before = await books.state()
    answer = await books.patch(f"{PATH}/{made['id']}", {"metadata": {"one more": "x"}})
    assert refusal(answer) == Refusal(422, "metadata_too_large", "metadata")
    assert await books.state() == before


@pytest.mark.parametrize(
    ("query", "code", "parameter"),
    [
        ("ledger_account_id=x", "parameter_invalid", "ledger_account_id"),
        ("ledger_account_id[]=x", "parameter_unknown", "ledger_account_id[]"),
        ("id[]=5", "parameter_invalid", "id[]"),
        ("discarded=1", "parameter_invalid", "discarded"),
        ("metadata=x", "parameter_invalid", "metadata"),
        ("metadata[k]=%00", "invalid_text", "metadata[k]"),
        ("per_page=0", "parameter_invalid", "per_page"),
        ("after_cursor=x", "invalid_cursor", "after_cursor"),
        ("triggered=true", "parameter_unknown", "triggered"),
        ("created_at[gt]=2026-01-01T00:00:00Z", "parameter_unknown", "created_at[gt]"),
    ],
)
async def test_a_query_that_can_not_be_is_refused_by_name(books: Books, query: str, code: str, parameter: str) -> None:
    assert refusal(await books.get(f"{PATH}?{query}")) == Refusal(422, code, parameter)


async def test_what_is_not_there_is_not_found(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await watch(books, wallet)
    another_second = f"00000001{made['id'][8:]}"
    before = await books.state()
    for id_ in ("x", "%00", cash["id"], another_second, "ffffffff-ffff-8fff-bfff-ffffffffffff"):
        for method, body in (("GET", None), ("PATCH", {"description": "x"}), ("DELETE", None)):
            answer = await books.client.request(method, f"/api{PATH}/{id_}", json=body)
            assert refusal(answer).status == 404
    for account in (cash["ledger_id"], f"00000001{wallet['id'][8:]}", made["id"], "x"):
        answer = await books.post(PATH, {"ledger_account_id": account, "alert_condition": CONDITION})
        assert refusal(answer) == Refusal(404, "object_not_found", "ledger_account_id")
    assert await books.state() == before
    assert (await books.get(f"{PATH}/{made['id'].upper()}")).status_code == 200


async def test_a_discarded_account_or_ledger_takes_no_monitor(books: Books) -> None:
    ledger = await books.ledger()
    account, closed = await books.account(ledger), await books.account(ledger)
    made = await watch(books, account)
    await books.delete(f"/ledger_accounts/{closed['id']}")
    body = {"ledger_account_id": closed["id"], "alert_condition": CONDITION}
    assert refusal(await books.post(PATH, body)) == Refusal(422, "account_discarded", "ledger_account_id")
    await books.delete(f"/ledgers/{ledger['id']}")

    before = await books.state()
    open_ = {**body, "ledger_account_id": account["id"]}
    for answer in (
        await books.post(PATH, open_),
        await books.patch(f"{PATH}/{made['id']}", {"description": "x"}),
        await books.delete(f"{PATH}/{made['id']}"),
    ):
        assert refusal(answer) == Refusal(422, "ledger_discarded", None)
    assert await books.state() == before
    assert await books.read(f"{PATH}/{made['id']}") == made


async def test_an_account_is_discarded_with_its_monitors_in_place(books: Books) -> None:
    account = await books.account(await books.ledger())
    made = await watch(books, account)
    assert (await books.delete(f"/ledger_accounts/{account['id']}")).status_code == 200
    assert await books.read(f"{PATH}/{made['id']}") == made
    assert (await books.delete(f"{PATH}/{made['id']}")).json()["discarded_at"] is not None


async def test_nobody_reads_watches_or_changes_what_is_anothers(books: Books, others: Books) -> None:
    _, wallet = await books.cash_and_wallet()
    theirs = await watch(others, (await others.cash_and_wallet())[1], metadata={"k": "v"})
    ours = await watch(books, wallet, metadata={"k": "v"})
    before = await books.state()
    for method, body in (("GET", None), ("PATCH", {"description": "x"}), ("DELETE", None)):
        answer = await books.client.request(method, f"/api{PATH}/{theirs['id']}", json=body)
        assert refusal(answer) == Refusal(404, "object_not_found", None)
    account = theirs["ledger_account_id"]
    answer = await books.post(PATH, {"ledger_account_id": account, "alert_condition": CONDITION})
    assert refusal(answer) == Refusal(404, "object_not_found", "ledger_account_id")
    assert await books.state() == before
    for query in (f"?id[]={theirs['id']}", f"?ledger_account_id={account}", f"?id[]={theirs['id']}&metadata[k]=v"):
        assert await books.read(PATH + query) == []
    assert await books.read(PATH) == await books.read(f"{PATH}?metadata[k]=v") == [ours]
    assert await books.read(f"{PATH}?id[]={theirs['id']}&id[]={ours['id']}") == [ours]


async def test_a_key_that_may_only_read_only_reads(books: Books) -> None:
    _, wallet = await books.cash_and_wallet()
    made = await watch(books, wallet)
    auth = (str(books.organization_id), await books.key("read"))
    before = await books.state()
    body = {"ledger_account_id": wallet["id"], "alert_condition": CONDITION}
    for method, path, sent in (("POST", "", body), ("PATCH", f"/{made['id']}", {}), ("DELETE", f"/{made['id']}", None)):
        answer = await books.client.request(method, f"/api{PATH}{path}", json=sent, auth=auth)
        assert refusal(answer) == Refusal(403, "role_insufficient", None)
    assert await books.state() == before
    assert (await books.client.get(f"/api{PATH}/{made['id']}", auth=auth)).json() == made


async def test_a_repeated_key_has_one_effect_and_the_same_answer_on_every_write(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    body = {"ledger_account_id": wallet["id"], "alert_condition": CONDITION}
    made = await books.post(PATH, body, "k")
    path = f"{PATH}/{made.json()['id']}"
    changed = await books.patch(path, {"description": "x"}, "k")
    await books.transfer(cash, wallet, 1000)
    gone = await books.delete(path, "k")
    assert len({answer.json()["updated_at"] for answer in (made, changed, gone)}) == 3

    before = await books.state()
    assert (await books.post(PATH, body, "k")).content == made.content
    assert (await books.patch(path, {"description": "x"}, "k")).content == changed.content
    assert (await books.delete(path, "k")).content == gone.content
    for answer in (
        await books.post(PATH, {**body, "description": "x"}, "k"),
        await books.patch(path, {"description": "y"}, "k"),
    ):
        assert refusal(answer) == Refusal(422, "idempotency_key_reused", None)
    assert await books.state() == before


async def test_an_account_takes_a_hundred_monitors_at_once_and_another_for_each_that_is_discarded(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    body = {"ledger_account_id": wallet["id"], "alert_condition": CONDITION}
    made = [await watch(books, wallet) for _ in range(99)]
    answers = await asyncio.gather(*(books.post(PATH, body) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [201, 422, 422]

    refused = await books.post(PATH, body)
    assert refusal(refused) == Refusal(422, "too_many_monitors", "ledger_account_id")
    told = refused.json()["errors"]["refusal"]
    assert (told["ledger_account_id"], told["count_max"]) == (wallet["id"], 100)
    await watch(books, cash)
    assert (await books.delete(f"{PATH}/{made[0]['id']}")).status_code == 200
    await watch(books, wallet)
    assert refusal(await books.post(PATH, body)).code == "too_many_monitors"
