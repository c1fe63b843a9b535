"""Settlements that are refused: out of shape, against a rule, or another organization's."""

import pytest

from doppia.store.platform.organizations import Role
from tests.api.closing.settlements_over_http import PATH, change, pick, settle
from tests.api.over_http import Books, Json, Refusal, ids, refusal

pytestmark = pytest.mark.anyio

NOBODY = "65a1b2c3-0000-8000-8400-000000000400"


BAD_SHAPES: list[tuple[Json, str, str | None]] = [
    ({"settled_ledger_account_id": ...}, "parameter_missing", "settled_ledger_account_id"),
    ({"contra_ledger_account_id": ...}, "parameter_missing", "contra_ledger_account_id"),
    ({"settled_ledger_account_id": None}, "parameter_invalid", "settled_ledger_account_id"),
    ({"settled_ledger_account_id": 7}, "parameter_invalid", "settled_ledger_account_id"),
    ({"settled_ledger_account_id": "x"}, "object_not_found", "settled_ledger_account_id"),
    ({"contra_ledger_account_id": NOBODY}, "object_not_found", "contra_ledger_account_id"),
    ({"status": "archived"}, "parameter_invalid", "status"),
    ({"status": "processing"}, "parameter_invalid", "status"),
    ({"status": 1}, "parameter_invalid", "status"),
    ({"effective_at_upper_bound": "yesterday"}, "parameter_invalid", "effective_at_upper_bound"),
    ({"effective_at_upper_bound": "0001-01-01T00:00:00Z"}, "parameter_invalid", "effective_at_upper_bound"),
    ({"effective_at_upper_bound": 5}, "parameter_invalid", "effective_at_upper_bound"),
    ({"allow_either_direction": "yes"}, "parameter_invalid", "allow_either_direction"),
    ({"skip_settlement_ledger_transaction": 1}, "parameter_invalid", "skip_settlement_ledger_transaction"),
    ({"description": "x" * 1001}, "parameter_invalid", "description"),
    ({"description": "a\0b"}, "invalid_text", "description"),
    ({"metadata": {"a": 1}}, "parameter_invalid", "metadata[...]"),
    ({"metadata": {"a": "x" * 1001}}, "metadata_too_large", "metadata.a"),
    ({"metadata": {"a\0": "x"}}, "invalid_text", "metadata"),
    ({"amount": 5}, "parameter_unknown", "amount"),
    ({"ledger_id": NOBODY}, "parameter_unknown", "ledger_id"),
]


@pytest.mark.parametrize(("fields", "code", "parameter"), BAD_SHAPES, ids=range(len(BAD_SHAPES)))
async def test_a_settlement_out_of_shape_is_refused(
    books: Books, fields: Json, code: str, parameter: str | None
) -> None:
    cash, wallet = await books.cash_and_wallet()
    good = {"settled_ledger_account_id": wallet["id"], "contra_ledger_account_id": cash["id"]}
    body = {name: value for name, value in {**good, **fields}.items() if value is not ...}
    before = await books.state()

    answer = await books.post(PATH, body)

    assert refusal(answer)[1:] == (code, parameter)
    assert answer.status_code in {404, 422}
    assert await books.state() == before


async def test_two_accounts_that_can_not_be_settled_are_refused(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    ledger = {"id": wallet["ledger_id"]}
    points = await books.account(ledger, currency="PTS", currency_exponent=0)
    closed = await books.account(ledger)
    await books.delete(f"/ledger_accounts/{closed['id']}")
    elsewhere, _ = await books.cash_and_wallet()
    transfer = await books.transfer(cash, wallet)
    before = await books.state()

    for settled, contra, code, parameter in (
        (wallet, wallet, "parameter_invalid", "contra_ledger_account_id"),
        (wallet, points, "parameter_invalid", "contra_ledger_account_id"),
        (wallet, elsewhere, "mixed_ledgers", "contra_ledger_account_id"),
        (wallet, closed, "account_discarded", "contra_ledger_account_id"),
        (closed, wallet, "account_discarded", "settled_ledger_account_id"),
        (wallet, ledger, "object_not_found", "contra_ledger_account_id"),
        (transfer, wallet, "object_not_found", "settled_ledger_account_id"),
    ):
        body = {"settled_ledger_account_id": settled["id"], "contra_ledger_account_id": contra["id"]}
        assert refusal(await books.post(PATH, body))[1:] == (code, parameter)
    assert await books.state() == before


@pytest.mark.parametrize(
    ("fields", "code", "parameter"),
    [
        ({"status": "processing"}, "parameter_invalid", "status"),
        ({"status": "drafting"}, "parameter_invalid", "status"),
        ({"status": None}, "parameter_invalid", "status"),
        ({"skip_settlement_ledger_transaction": "no"}, "parameter_invalid", "skip_settlement_ledger_transaction"),
        ({"skip_settlement_ledger_transaction": True}, "settlement_final", None),
        ({"description": 5}, "parameter_invalid", "description"),
        ({"metadata": {"": "x"}}, "metadata_too_large", "metadata"),
        ({"amount": 5}, "parameter_unknown", "amount"),
        ({"allow_either_direction": True}, "parameter_unknown", "allow_either_direction"),
    ],
    ids=str,
)
async def test_a_change_out_of_shape_is_refused(books: Books, fields: Json, code: str, parameter: str | None) -> None:
    cash, wallet = await books.cash_and_wallet()
    swept = await settle(books, wallet, cash)
    before = await books.state()
    assert refusal(await books.patch(f"{PATH}/{swept['id']}", fields)) == Refusal(422, code, parameter)
    assert await books.state() == before


async def test_a_status_that_can_not_be_is_refused(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    await books.transfer(cash, wallet)
    moved = await settle(books, wallet, cash, status="posted")
    given_up = await change(books, await settle(books, wallet, cash), status="archived")
    before = await books.state()
    for settlement, status in ((moved, "pending"), (moved, "archived"), (given_up, "posted"), (given_up, "pending")):
        refused = await books.patch(f"{PATH}/{settlement['id']}", {"status": status})
        assert refusal(refused) == Refusal(422, "settlement_final", None)
    assert await books.state() == before
    assert (await change(books, moved, status="posted", description="d"))["description"] == "d"
    assert (await change(books, given_up, status="archived"))["status"] == "archived"


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_picking_out_of_shape_is_refused(books: Books, method: str) -> None:
    cash, wallet = await books.cash_and_wallet()
    entry = (await books.transfer(cash, wallet))["ledger_entries"][1]["id"]
    draft, swept = await settle(books, wallet, cash, status="drafting"), await settle(books, wallet, cash)
    before = await books.state()
    first = "ledger_entry_ids[0]"
    for target, picked, expected in (
        (draft, "x", Refusal(422, "parameter_invalid", "ledger_entry_ids")),
        (draft, [5], Refusal(422, "parameter_invalid", first)),
        (draft, [entry] * 10_001, Refusal(422, "parameter_invalid", "ledger_entry_ids")),
        (draft, ["x"], Refusal(404, "object_not_found", first)),
        (draft, [wallet["id"]], Refusal(404, "object_not_found", first)),
        (draft, ["a\0"], Refusal(422, "invalid_text", first)),
        (swept, [entry], Refusal(422, "settlement_final", None)),
        ({"id": NOBODY}, [entry], Refusal(404, "object_not_found", None)),
        (wallet, [entry], Refusal(404, "object_not_found", None)),
    ):
        assert refusal(await pick(books, method, target, picked)) == expected
    path = f"/api{PATH}/{draft['id']}/ledger_entries"
    assert refusal(await books.client.request(method, path, json={}))[1:] == ("parameter_missing", "ledger_entry_ids")
    unknown = {"ledger_entry_ids": [], "status": "posted"}
    assert refusal(await books.client.request(method, path, json=unknown))[1:] == ("parameter_unknown", "status")
    assert refusal(await books.client.request(method, path, content=b"[]")).status == 415
    assert await books.state() == before


async def test_an_entry_that_can_not_be_picked_is_named(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    theirs = (await books.transfer(*await books.cash_and_wallet()))["ledger_entries"][1]["id"]
    made = await books.transfer(cash, wallet)
    holder = await settle(books, wallet, cash, status="drafting")
    await pick(books, "PATCH", holder, [made["ledger_entries"][1]["id"]])
    held = (await books.transfer(cash, wallet, 1, "pending"))["ledger_entries"][1]["id"]
    draft = await settle(books, wallet, cash, status="drafting")
    before = await books.state()

    for entry, code in (
        (made["ledger_entries"][0]["id"], "entry_not_settleable"), (theirs, "entry_not_settleable"),
        (held, "entry_not_settleable"), (made["ledger_entries"][1]["id"], "entry_settled"),
    ):  # fmt: skip
        refused = await pick(books, "PATCH", draft, [entry])
        assert refusal(refused) == Refusal(422, code, "ledger_entry_ids[0]")
        assert refused.json()["errors"]["refusal"]["ledger_entry_id"] == entry
    assert refused.json()["errors"]["refusal"]["ledger_account_settlement_id"] == holder["id"]
    assert (await pick(books, "DELETE", draft, [theirs, made["ledger_entries"][1]["id"]])).status_code == 200
    assert await books.state() == before


async def test_what_is_anothers_is_answered_like_what_is_not_there(books: Books, others: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    their_cash, their_wallet = await others.cash_and_wallet()
    their_entry = (await others.transfer(their_cash, their_wallet))["ledger_entries"][1]["id"]
    theirs = await settle(others, their_wallet, their_cash)
    draft = await settle(books, wallet, cash, status="drafting")
    before = await books.state()

    for answer in (
        await books.get(f"{PATH}/{theirs['id']}"), await books.patch(f"{PATH}/{theirs['id']}", {"status": "posted"}),
        await pick(books, "PATCH", theirs, []), await pick(books, "DELETE", theirs, []),
    ):  # fmt: skip
        assert refusal(answer) == Refusal(404, "object_not_found", None)
    for method in ("PATCH", "DELETE"):
        expected = Refusal(404, "object_not_found", "ledger_entry_ids[0]")
        assert refusal(await pick(books, method, draft, [their_entry])) == expected
    for name, account in (("settled", their_wallet), ("contra", their_cash)):
        body = {"settled_ledger_account_id": wallet["id"], "contra_ledger_account_id": cash["id"]}
        answer = await books.post(PATH, {**body, f"{name}_ledger_account_id": account["id"]})
        assert refusal(answer) == Refusal(404, "object_not_found", f"{name}_ledger_account_id")
    assert ids(await books.get(PATH)) == [draft["id"]]
    for list_ in (f"{PATH}?id[]={theirs['id']}", f"{PATH}?settled_ledger_account_id={their_wallet['id']}",
                  f"/ledger_entries?ledger_account_settlement_id={theirs['id']}",
                  f"/ledger_transactions?ledger_account_settlement_id={theirs['id']}"):  # fmt: skip
        assert await books.read(list_) == []
    assert await books.state() == before


async def test_a_read_key_reads_and_a_write_key_settles(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    body = {"settled_ledger_account_id": wallet["id"], "contra_ledger_account_id": cash["id"], "status": "drafting"}
    draft = await settle(books, wallet, cash, status="drafting")
    granted: dict[Role, list[int]] = {"read": [200, 200, 403, 403, 403, 403], "write": [200, 200, 201, 200, 200, 200]}
    for role, statuses in granted.items():
        auth = (str(books.organization_id), await books.key(role))
        path, picked = f"/api{PATH}/{draft['id']}", Json(ledger_entry_ids=[])
        answers = [
            await books.client.get(f"/api{PATH}", auth=auth), await books.client.get(path, auth=auth),
            await books.client.post(f"/api{PATH}", json=body, auth=auth),
            await books.client.patch(path, json={}, auth=auth),
            await books.client.patch(f"{path}/ledger_entries", json=picked, auth=auth),
            await books.client.request("DELETE", f"{path}/ledger_entries", json=picked, auth=auth),
        ]  # fmt: skip
        assert [answer.status_code for answer in answers] == statuses


async def test_a_discarded_ledger_settles_nothing_more(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    draft = await settle(books, wallet, cash, status="drafting")
    entry = (await books.transfer(cash, wallet))["ledger_entries"][1]["id"]
    await books.delete(f"/ledgers/{wallet['ledger_id']}")
    before = await books.state()
    body = {"settled_ledger_account_id": wallet["id"], "contra_ledger_account_id": cash["id"]}

    for answer in (
        await books.post(PATH, body), await books.patch(f"{PATH}/{draft['id']}", {"status": "posted"}),
        await pick(books, "PATCH", draft, [entry]), await pick(books, "DELETE", draft, [entry]),
    ):  # fmt: skip
        assert refusal(answer) == Refusal(422, "ledger_discarded", None)
    assert await books.state() == before
