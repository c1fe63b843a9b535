"""Two organizations: neither reads, lists, finds, writes to or learns of what is the other's."""

from typing import Any

import pytest

from tests.api.over_http import Books, Json, Refusal, entry, ids, pair, refusal

pytestmark = pytest.mark.anyio


async def furnished(books: Books) -> dict[str, Json]:
    cash, wallet = await books.cash_and_wallet()
    transaction = await books.transfer(cash, wallet, status="pending", external_id="e", metadata={"k": "v"})
    return {
        "ledger": await books.read(f"/ledgers/{cash['ledger_id']}"),
        "ledger_account": cash,
        "wallet": wallet,
        "ledger_transaction": transaction,
        "ledger_entry": transaction["ledger_entries"][0],
    }


def unknown(id_: str, like: str) -> str:
    """Return an id of the same kind in a ledger that nobody has."""
    number = "0000-8000-8000" if like != "0000-8000-8000" else "0000-8000-8400"
    return f"{id_[:9]}{number}{id_[23:]}"


WRITES: dict[str, tuple[tuple[str, str, Any], ...]] = {
    "ledger": (
        ("GET", "/ledgers/{}", None), ("PATCH", "/ledgers/{}", {"name": "x"}), ("DELETE", "/ledgers/{}", None),
        ("DELETE", "/ledgers/{}?purge=true&confirm={}", None),
    ),
    "ledger_account": (
        ("GET", "/ledger_accounts/{}", None), ("PATCH", "/ledger_accounts/{}", {"name": "x"}),
        ("DELETE", "/ledger_accounts/{}", None),
    ),
    "ledger_transaction": (
        ("GET", "/ledger_transactions/{}", None), ("PATCH", "/ledger_transactions/{}", {"status": "posted"}),
        ("POST", "/ledger_transactions/{}/reversal", {}),
    ),
    "ledger_entry": (
        ("GET", "/ledger_entries/{}", None), ("PATCH", "/ledger_entries/{}", {"metadata": {"a": "b"}}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRITES)
async def test_what_is_anothers_is_answered_word_for_word_like_what_is_not_there(
    books: Books, others: Books, kind: str
) -> None:
    theirs = (await furnished(others))[kind]["id"]
    nobodys = unknown(theirs, theirs[9:23])
    before = await books.state()
    for method, path, body in WRITES[kind]:
        answers = []
        for id_ in (theirs, nobodys):
            answer = await books.client.request(method, f"/api{path.format(id_, id_)}", json=body)
            assert refusal(answer) == Refusal(404, "object_not_found", None)
            answers.append(answer.text.replace(id_, "ID"))
        assert answers[0] == answers[1]
    assert await books.state() == before


async def test_no_account_or_transaction_is_made_in_anothers_ledger(books: Books, others: Books) -> None:
    ours, theirs = await furnished(books), await furnished(others)
    before = await books.state()
    account = {"name": "x", "ledger_id": theirs["ledger"]["id"], "currency": "PHP", "normal_balance": "debit"}
    refused = await books.post("/ledger_accounts", account)
    assert refusal(refused) == Refusal(404, "object_not_found", "ledger_id")

    where = "ledger_entries[{}].ledger_account_id"
    for legs, position in (
        (pair(theirs["ledger_account"], theirs["wallet"]), 0),
        (pair(ours["ledger_account"], theirs["wallet"]), 1),
        ([entry(ours["ledger_account"], "debit"), entry({"id": unknown(ours["wallet"]["id"], "")}, "credit")], 1),
    ):
        expected = Refusal(404, "object_not_found", where.format(position))
        assert refusal(await books.post("/ledger_transactions", {"ledger_entries": legs})) == expected
        path = f"/ledger_transactions/{ours['ledger_transaction']['id']}"
        assert refusal(await books.patch(path, {"ledger_entries": legs})) == expected
    assert await books.state() == before


async def test_a_list_shows_nothing_of_anothers_whatever_it_filters_by(books: Books, others: Books) -> None:
    ours, theirs = await furnished(books), await furnished(others)
    for path, own in (
        ("/ledgers", [ours["ledger"]]),
        ("/ledger_accounts", [ours["wallet"], ours["ledger_account"]]),
        ("/ledger_transactions", [ours["ledger_transaction"]]),
        ("/ledger_entries", ours["ledger_transaction"]["ledger_entries"][::-1]),
    ):
        assert ids(await books.get(path)) == ids(own)
    account, transaction = theirs["ledger_account"]["id"], theirs["ledger_transaction"]["id"]
    for query in (
        f"/ledgers?id[]={theirs['ledger']['id']}",
        f"/ledger_accounts?id[]={account}",
        f"/ledger_accounts?ledger_id={theirs['ledger']['id']}",
        f"/ledger_transactions?id[]={transaction}",
        f"/ledger_transactions?ledger_id={theirs['ledger']['id']}",
        f"/ledger_transactions?ledger_account_id={account}",
        f"/ledger_transactions?reverses_ledger_transaction_id={transaction}",
        f"/ledger_entries?id[]={theirs['ledger_entry']['id']}",
        f"/ledger_entries?ledger_account_id={account}",
        f"/ledger_entries?ledger_transaction_id={transaction}",
        f"/ledger_entries?ledger_account_id={account}&as_of_lock_version=1&show_deleted=true",
    ):
        assert await books.read(query) == [], query
    # Of both, ours alone is found.
    both = f"id[]={transaction}&id[]={ours['ledger_transaction']['id']}"
    for query in (both, "external_id=e", "metadata[k]=v", "status=pending"):
        assert ids(await books.get(f"/ledger_transactions?{query}")) == [ours["ledger_transaction"]["id"]]


async def test_a_cursor_of_another_leads_to_nothing_of_theirs(books: Books, others: Books) -> None:
    ours = await furnished(books)
    theirs = await furnished(others)
    await others.transfer(theirs["ledger_account"], theirs["wallet"])
    for path, own in (
        ("/ledger_transactions", [ours["ledger_transaction"]]),
        ("/ledger_entries", ours["ledger_transaction"]["ledger_entries"]),
        ("/ledger_accounts", [ours["ledger_account"], ours["wallet"]]),
    ):
        cursor = (await others.get(f"{path}?per_page=1")).headers["X-After-Cursor"]
        found = await books.read(f"{path}?per_page=1&after_cursor={cursor}")
        assert set(ids(found)) <= set(ids(own))


async def test_an_external_id_of_another_is_free(books: Books, others: Books) -> None:
    await furnished(others)
    ours = await furnished(books)
    assert ours["ledger_transaction"]["external_id"] == "e"


async def test_a_key_opens_its_own_organization_only(books: Books, others: Books) -> None:
    answer = await books.client.get("/api/ping", auth=(str(others.organization_id), books.api_key))
    assert refusal(answer) == Refusal(401, "key_invalid", None)
