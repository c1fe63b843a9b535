"""Transactions named by an id of the caller's own: read and changed by external_id."""

import asyncio
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.api.over_http import Books, Json, Refusal, pair, refusal

pytestmark = pytest.mark.anyio

NOT_FOUND = Refusal(404, "object_not_found", None)


async def named(books: Books, external_id: str, status: str = "posted", amount: int = 100) -> Json:
    """Make a transaction of this external_id in a ledger of its own."""
    return await books.transfer(*(await books.cash_and_wallet()), amount, status, external_id=external_id)


@pytest.mark.parametrize(
    "external_id",
    [
        "invoice-7",
        "7",
        "Æ ñ 漢字 🏦",
        "a b+c&d=e;f?g#h%25",
        "..%2F",
        "2026/11/7",
        "/",
        "x" * 180,
        "00000000-0000-0000-0000-000000000000",
        "7c9e6679-7425-40de-944b-e07fc1f90ae7",
        "01890a5d-ac96-774b-bcce-b302099a8057",
    ],
)
async def test_a_transaction_is_read_and_changed_by_its_external_id(books: Books, external_id: str) -> None:
    hold = await named(books, external_id, "pending")
    path = f"/ledger_transactions/{quote(external_id, safe='')}"
    assert await books.read(path) == hold
    changed = (await books.patch(path, {"status": "posted"})).json()
    assert (changed["id"], changed["status"]) == (hold["id"], "posted")
    assert await books.read(path) == changed == await books.read(f"/ledger_transactions/{hold['id']}")


async def test_an_external_id_is_read_letter_by_letter(books: Books) -> None:
    made = await named(books, "Invoice-7")
    for other in ("invoice-7", "Invoice-7 ", " Invoice-7", "Invoice-", "Invoice-77"):
        assert refusal(await books.get(f"/ledger_transactions/{quote(other)}")) == NOT_FOUND
    assert refusal(await books.get("/ledger_transactions/%00")) == NOT_FOUND
    assert refusal(await books.get("/ledger_transactions/Invoice-7%00")) == NOT_FOUND
    assert refusal(await books.patch("/ledger_transactions/a%00", {})) == NOT_FOUND
    assert refusal(await books.get(f"/ledger_transactions/{'x' * 5000}")).status == 404
    assert (await books.read("/ledger_transactions/Invoice%2D7"))["id"] == made["id"]


async def test_an_id_is_taken_in_either_case_and_for_nothing_else(books: Books) -> None:
    made = await named(books, "x")
    assert await books.read(f"/ledger_transactions/{made['id'].upper()}") == made
    # What looks like an id of ours is none of a caller's, even where it is an external_id.
    theirs = await named(books, f"{made['id'][:-3]}fff")
    assert refusal(await books.get(f"/ledger_transactions/{theirs['external_id']}")) == NOT_FOUND


async def test_in_several_ledgers_the_caller_says_which(books: Books) -> None:
    first, second = await named(books, "x", "pending", 1), await named(books, "x", "pending", 2)
    before = await books.state()
    for refused in (
        await books.get("/ledger_transactions/x"),
        await books.patch("/ledger_transactions/x", {"status": "posted"}),
    ):
        assert refusal(refused) == Refusal(422, "ambiguous_external_id", "ledger_id")
        told = refused.json()["errors"]["refusal"]
        assert told["external_id"] == "x"
        assert sorted(told["ledger_ids"]) == sorted([first["ledger_id"], second["ledger_id"]])
    assert await books.state() == before
    for made in (first, second):
        path = f"/ledger_transactions/x?ledger_id={made['ledger_id']}"
        assert await books.read(path) == made
        assert (await books.patch(path, {"description": "d"})).json()["id"] == made["id"]
        # Of an id there is no doubt.
        assert (await books.read(f"/ledger_transactions/{made['id']}?ledger_id={first['ledger_id']}"))["id"] == made[
            "id"
        ]


async def test_one_that_counts_goes_before_those_that_are_archived(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    older = await books.transfer(cash, wallet, 1, "archived", external_id="x")
    newer = await books.transfer(cash, wallet, 2, "archived", external_id="x")
    assert (await books.read("/ledger_transactions/x"))["id"] == newer["id"]
    alive = await books.transfer(cash, wallet, 3, "pending", external_id="x")
    assert (await books.read("/ledger_transactions/x"))["id"] == alive["id"]
    # In another ledger, one that is archived makes it no less clear.
    elsewhere = await named(books, "x", "archived")
    assert (await books.read("/ledger_transactions/x"))["id"] == alive["id"]
    found = await books.read(f"/ledger_transactions/x?ledger_id={elsewhere['ledger_id']}")
    assert found["id"] == elsewhere["id"]
    await books.patch("/ledger_transactions/x", {"status": "archived"})
    assert refusal(await books.get("/ledger_transactions/x")).code == "ambiguous_external_id"
    assert (await books.read(f"/ledger_transactions/x?ledger_id={cash['ledger_id']}"))["id"] == alive["id"]
    assert older["id"] != newer["id"]


async def test_what_is_not_there_is_not_found(books: Books) -> None:
    made = await named(books, "x")
    other = await books.ledger()
    before = await books.state()
    for query in ("y", f"y?ledger_id={made['ledger_id']}", f"x?ledger_id={other['id']}", f"x?ledger_id={uuid4()}"):
        assert refusal(await books.get(f"/ledger_transactions/{query}")) == NOT_FOUND
        assert refusal(await books.patch(f"/ledger_transactions/{query}", {"metadata": {"a": "b"}})) == NOT_FOUND
    assert await books.state() == before


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("ledger_id=x", Refusal(422, "parameter_invalid", "ledger_id")),
        ("ledger_id=", Refusal(422, "parameter_invalid", "ledger_id")),
        ("ledger_id[]=x", Refusal(422, "parameter_unknown", "ledger_id[]")),
        ("ledger=x", Refusal(422, "parameter_unknown", "ledger")),
        ("per_page=5", Refusal(422, "parameter_unknown", "per_page")),
        ("external_id=x", Refusal(422, "parameter_unknown", "external_id")),
    ],
)
async def test_a_query_that_cannot_be_is_refused(books: Books, query: str, expected: Refusal) -> None:
    await named(books, "x")
    before = await books.state()
    assert refusal(await books.get(f"/ledger_transactions/x?{query}")) == expected
    assert refusal(await books.patch(f"/ledger_transactions/x?{query}", {"status": "posted"})) == expected
    twice = f"ledger_id={uuid4()}&ledger_id={uuid4()}"
    assert refusal(await books.get(f"/ledger_transactions/x?{twice}")).code == "parameter_invalid"
    assert await books.state() == before


async def test_an_external_id_of_another_names_nothing(books: Books, others: Books) -> None:
    theirs = await named(others, "x")
    assert refusal(await books.get("/ledger_transactions/x")) == NOT_FOUND
    assert refusal(await books.get(f"/ledger_transactions/x?ledger_id={theirs['ledger_id']}")) == NOT_FOUND
    before = await books.state()
    assert refusal(await books.patch("/ledger_transactions/x", {"metadata": {"a": "b"}})) == NOT_FOUND
    assert await books.state() == before
    ours = await named(books, "x")
    assert (await books.read("/ledger_transactions/x"))["id"] == ours["id"]
    assert (await others.read("/ledger_transactions/x"))["id"] == theirs["id"]


async def test_a_repeated_change_answers_the_same_bytes_whatever_the_name_means_by_then(books: Books) -> None:
    hold = await named(books, "x", "pending")
    body = {"external_id": "y", "status": "posted"}
    first = await books.patch("/ledger_transactions/x", body, key="k")
    assert (first.status_code, first.json()["id"]) == (200, hold["id"])
    again = await books.patch("/ledger_transactions/x", body, key="k")
    assert (again.status_code, again.content) == (200, first.content)
    # First it names another transaction in another ledger, then one in each of two.
    for _ in range(2):
        await named(books, "x", "pending")
        before = await books.state()
        assert (await books.patch("/ledger_transactions/x", body, key="k")).content == first.content
        assert refusal(await books.patch("/ledger_transactions/x", {}, key="k")).code == "idempotency_key_reused"
        assert await books.state() == before


async def test_a_key_is_not_taken_for_another_ledgers_transaction(books: Books) -> None:
    first, second = await named(books, "x", "pending"), await named(books, "x", "pending")
    body = {"metadata": {"a": "b"}}
    answer = await books.patch(f"/ledger_transactions/x?ledger_id={first['ledger_id']}", body, key="k")
    assert answer.json()["id"] == first["id"]
    before = await books.state()
    refused = await books.patch(f"/ledger_transactions/x?ledger_id={second['ledger_id']}", body, key="k")
    assert refusal(refused) == Refusal(422, "idempotency_key_reused", None)
    assert await books.state() == before


async def test_of_changes_at_once_that_take_the_name_away_each_with_one_key_one_is_done(books: Books) -> None:
    hold = await named(books, "x", "pending")
    answers = await asyncio.gather(
        *(books.patch("/ledger_transactions/x", {"external_id": "y"}, key="k") for _ in range(8))
    )
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
    assert (await books.read("/ledger_transactions/y"))["id"] == hold["id"]


async def test_entries_of_another_ledger_do_not_come_in_by_an_external_id(books: Books) -> None:
    hold = await named(books, "x", "pending")
    cash, wallet = await books.cash_and_wallet()
    before = await books.state()
    refused = await books.patch("/ledger_transactions/x", {"ledger_entries": pair(cash, wallet)})
    assert refusal(refused) == Refusal(422, "mixed_ledgers", "ledger_entries")
    assert await books.state() == before
    assert await books.read("/ledger_transactions/x") == hold
