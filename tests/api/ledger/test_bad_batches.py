"""Batches of which one transaction, or all of it, can't be: in JSON and line by line, plain and atomic."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.ledger.batching import (
    ACCEPTED,
    LARGEST,
    NOT_FOUND,
    PATH,
    Fault,
    fault,
    lines,
    made,
    move,
    of,
    refused,
    send,
    send_lines,
    told,
)
from tests.api.over_http import Books, Json, Refusal, entry, refusal

pytestmark = pytest.mark.anyio

Bad = Callable[[Json, Json, Json], Any]
THEIRS = "65a1b2c3-0000-8000-8400-000000000800"

# A transaction that can't be, of cash and wallet; `other` is an account of another ledger of the same organization.
BAD: list[tuple[str, Bad, str, str | None]] = [
    ("unbalanced", lambda c, w, _: of(entry(c, "debit", 2), entry(w, "credit", 1)), "unbalanced", "ledger_entries"),
    ("null", lambda *_: None, "parameter_invalid", None),
    ("a number", lambda *_: 5, "parameter_invalid", None),
    ("a list", lambda *_: [], "parameter_invalid", None),
    ("empty", lambda *_: {}, "parameter_missing", "ledger_entries"),
    ("no entries", lambda *_: of(), "too_few_entries", "ledger_entries"),
    ("one side", lambda _, w, __: of(entry(w, "debit", 0)), "one_sided", "ledger_entries"),
    ("misspelt", lambda c, w, _: move(c, w, desciption="x"), "parameter_unknown", "desciption"),
    ("status", lambda c, w, _: move(c, w, status="done"), "parameter_invalid", "status"),
    ("two times", lambda c, w, _: move(c, w, effective_at="2024-01-01T00:00:00Z", effective_date="2024-01-01"),
     "parameter_invalid", "effective_date"),
    ("expired", lambda c, w, _: move(c, w, status="pending", expires_at="2024-01-01T00:00:00Z"), "parameter_invalid",
     "expires_at"),
    ("an amount beyond 10^36", lambda c, w, _: move(c, w, LARGEST + 1), "amount_out_of_range",
     "ledger_entries[0].amount"),
    ("a NUL", lambda c, w, _: move(c, w, description="a\x00b"), "invalid_text", "description"),
    ("an account that is not there", lambda _, w, __: of(entry({"id": THEIRS}, "debit"), entry(w, "credit")), NOT_FOUND,
     "ledger_entries[0].ledger_account_id"),
    ("two ledgers", lambda c, _, other: move(c, other), "mixed_ledgers", "ledger_entries"),
    ("another ledger", lambda _, __, other: move(other, other), "mixed_ledgers", "ledger_entries"),
    ("a failed lock",
     lambda c, w, _: of(entry(w, "debit", 1, posted_balance_amount={"lt": -99}), entry(c, "credit", 1)),
     "balance_lock_failed", "ledger_entries[0].posted_balance_amount"),
    ("a stale lock_version", lambda c, w, _: of(entry(w, "debit", 1, lock_version=99), entry(c, "credit", 1)),
     "lock_version_mismatch", "ledger_entries[0].lock_version"),
    ("an external_id that is taken", lambda c, w, _: move(c, w, external_id="taken"), "external_id_taken",
     "external_id"),
    ("a category that is not there",
     lambda c, w, _: move(c, w, ledger_account_category_balance_locks=[{"ledger_account_category_id": c["id"]}]),
     NOT_FOUND, "ledger_account_category_balance_locks[0].ledger_account_category_id"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "code", "parameter"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
class TestOneThatCannotBe:
    async def test_is_refused_alone_wherever_it_stands(
        self, books: Books, make: Bad, code: str, parameter: str | None
    ) -> None:
        cash, wallet = await books.cash_and_wallet()
        other, _ = await books.cash_and_wallet()
        await books.transfer(cash, wallet, external_id="taken")
        bad, good = make(cash, wallet, other), move(cash, wallet, 1)
        expected = [ACCEPTED, refused(code, parameter), ACCEPTED, refused(code, parameter)]
        assert told(await send(books, [good, bad, good, bad])) == expected
        assert told(await send_lines(books, lines(good, bad, good, bad))) == expected
        assert (await books.balances(wallet))["posted"] == (104, 0, 104)
        before = await books.state()
        if code != "mixed_ledgers":
            assert told(await send(books, [bad])) == [refused(code, parameter)]
        assert await books.state() == before

    async def test_refuses_an_atomic_batch_wherever_it_stands_and_leaves_no_trace(
        self, books: Books, make: Bad, code: str, parameter: str | None
    ) -> None:
        cash, wallet = await books.cash_and_wallet()
        other, _ = await books.cash_and_wallet()
        await books.transfer(cash, wallet, external_id="taken")
        bad, good = make(cash, wallet, other), move(cash, wallet, 1)
        before = await books.state()
        for index in range(3):
            if index == 0 and parameter == "ledger_entries" and code == "mixed_ledgers" and bad == move(other, other):
                continue  # it is the first that says which ledger it shall be
            items = [good] * index + [bad] + [good] * (2 - index)
            where = f"ledger_transactions[{index}]" + (f".{parameter}" if parameter else "")
            for answer in (
                await send(books, items, atomic=True, key="k"),
                await send_lines(books, lines(*items), "?atomic=true", key="k"),
            ):
                assert fault(answer) == Fault(422, index, code, where)
        assert await books.state() == before
        assert told(await send(books, [good] * 3, atomic=True, key="k")) == [ACCEPTED] * 3


class TestLines:
    async def test_a_line_is_a_transaction_and_empty_lines_are_none(self, books: Books) -> None:
        cash, wallet = await books.cash_and_wallet()
        items = [json.dumps(move(cash, wallet, amount, description="Ä\u2028ñ")) for amount in (1, 2, 3)]
        raw = json.dumps(move(cash, wallet, 4, description="Ä\u2028ñ"), ensure_ascii=False)
        content = f"\n\n{items[0]}\r\n \t\n{items[1]}\n\r\n  {items[2]}  \n{raw}"
        transactions = made(await send_lines(books, content.encode(), media_type="application/x-ndjson; charset=utf-8"))
        assert [each["ledger_entries"][0]["amount"] for each in transactions] == [1, 2, 3, 4]
        assert {each["description"] for each in transactions} == {"Ä\u2028ñ"}

    async def test_a_line_that_is_no_json_is_refused_alone(self, books: Books) -> None:
        cash, wallet = await books.cash_and_wallet()
        good = lines(move(cash, wallet, 1)).encode()
        for bad in (b"{", b"nonsense", b"\xff\xfe", b'{"description": "\xff"}', good[:-1] + b" x"):
            answer = await send_lines(books, good + bad + b"\n" + good)
            assert told(answer) == [ACCEPTED, refused("invalid_json", None), ACCEPTED]
            assert len(answer.content) < 10_000
            before = await books.state()
            atomic = await send_lines(books, b"\n" + good + bad + b"\n" + good, "?atomic=true")
            # The index counts transactions, not lines.
            assert fault(atomic) == Fault(422, 1, "invalid_json", "ledger_transactions[1]")
            assert await books.state() == before

    async def test_a_line_with_half_a_surrogate_pair_is_refused_alone(self, books: Books) -> None:
        cash, wallet = await books.cash_and_wallet()
        content = lines(move(cash, wallet), move(cash, wallet, metadata={"k": "\ud800"}))
        assert told(await send_lines(books, content)) == [ACCEPTED, refused("invalid_text", "metadata.k")]

    async def test_a_deeply_nested_line_is_refused_alone(self, books: Books) -> None:
        cash, wallet = await books.cash_and_wallet()
        good = lines(move(cash, wallet, 1)).encode()
        for opening in (b"[", b'{"a":', b'{"metadata":{"a":', b'{"\\u0000":['):
            answer = await send_lines(books, good + opening * 100_000 + b"\n" + good)
            assert [each.status for each in told(answer)] == ["accepted", "refused", "accepted"]
            assert len(answer.content) < 10_000

    async def test_the_query_says_whether_lines_are_atomic(self, books: Books) -> None:
        cash, wallet = await books.cash_and_wallet()
        content = lines(move(cash, wallet, 1), of())
        for query in ("", "?atomic=false"):
            assert told(await send_lines(books, content, query)) == [
                ACCEPTED,
                refused("too_few_entries", "ledger_entries"),
            ]
        before = await books.state()
        assert fault(await send_lines(books, content, "?atomic=true")).place == 1
        for query, expected in (
            ("?atomic=maybe", Refusal(422, "parameter_invalid", "atomic")),
            ("?atomic=", Refusal(422, "parameter_invalid", "atomic")),
            ("?atomic=true&atomic=false", Refusal(422, "parameter_invalid", "atomic")),
            ("?atomic[]=true", Refusal(422, "parameter_unknown", "atomic[]")),
            ("?per_page=5", Refusal(422, "parameter_unknown", "per_page")),
        ):
            assert refusal(await send_lines(books, content, query)) == expected
        assert await books.state() == before

    @pytest.mark.parametrize(
        "media_type",
        [
            "",
            "text/plain",
            "application/ndjson",
            "application/x-ndjsonp",
            "application/x-www-form-urlencoded",
            "x" * 5000,
        ],
    )
    async def test_lines_are_declared_as_what_they_are(self, books: Books, media_type: str) -> None:
        cash, wallet = await books.cash_and_wallet()
        before = await books.state()
        answer = await send_lines(books, lines(move(cash, wallet)), media_type=media_type)
        assert refusal(answer) == Refusal(415, "wrong_content_type", None)
        assert await books.state() == before

    async def test_lines_are_declared_in_any_case(self, books: Books) -> None:
        cash, wallet = await books.cash_and_wallet()
        answer = await send_lines(books, lines(move(cash, wallet)), media_type="Application/X-NDJSON")
        assert told(answer) == [ACCEPTED]

    @pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\t\n"], ids=["nothing", "a line end", "blanks"])
    async def test_no_lines_are_no_batch(self, books: Books, content: bytes) -> None:
        assert refusal(await send_lines(books, content)) == Refusal(422, "parameter_invalid", "ledger_transactions")


NO_BATCH: list[tuple[str, str, Refusal]] = [
    ("nothing", "", Refusal(422, "parameter_missing", "ledger_transactions")),
    ("an empty object", "{}", Refusal(422, "parameter_missing", "ledger_transactions")),
    ("a list", "[]", Refusal(422, "parameter_invalid", None)),
    ("null", '{"ledger_transactions": null}', Refusal(422, "parameter_invalid", "ledger_transactions")),
    ("an object", '{"ledger_transactions": {}}', Refusal(422, "parameter_invalid", "ledger_transactions")),
    ("none", '{"ledger_transactions": []}', Refusal(422, "parameter_invalid", "ledger_transactions")),
    ("misspelt", '{"transactions": []}', Refusal(422, "parameter_unknown", "transactions")),
    ("a name with a NUL", '{"a\\u0000": []}', Refusal(422, "parameter_unknown", "a\x00")),
    ("atomic a text", '{"ledger_transactions": [{}], "atomic": "true"}', Refusal(422, "parameter_invalid", "atomic")),
    ("atomic a number", '{"ledger_transactions": [{}], "atomic": 1}', Refusal(422, "parameter_invalid", "atomic")),
    ("atomic null", '{"ledger_transactions": [{}], "atomic": null}', Refusal(422, "parameter_invalid", "atomic")),
    ("no json", '{"ledger_transactions": [{]}', Refusal(400, "invalid_json", None)),
    ("no end", '{"ledger_transactions": [{}', Refusal(400, "invalid_json", None)),
    # Half of a surrogate pair is no character, so what holds it is no JSON: it can't be told where it ends.
    ("half a surrogate pair", '{"ledger_transactions": [{"description": "\\ud800"}]}',
     Refusal(400, "invalid_json", None)),
    ("nested too deeply", f'{{"ledger_transactions": [{"[" * 100_000}', Refusal(400, "invalid_json", None)),
    ("more after it", '{"ledger_transactions": [{}]} x', Refusal(400, "invalid_json", None)),
]  # fmt: skip


@pytest.mark.parametrize(("content", "expected"), [case[1:] for case in NO_BATCH], ids=[case[0] for case in NO_BATCH])
async def test_what_is_no_batch_is_refused_as_a_whole(books: Books, content: str, expected: Refusal) -> None:
    before = await books.state()
    assert refusal(await send_lines(books, content, key="k", media_type="application/json")) == expected
    assert await books.state() == before


async def test_a_batch_in_json_says_in_its_body_whether_it_is_atomic(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    before = await books.state()
    for query in ("?atomic=true", "?atomic=false"):
        answer = await books.post(f"{PATH}{query}", {"ledger_transactions": [move(cash, wallet)]})
        assert refusal(answer) == Refusal(422, "parameter_invalid", "atomic")
    assert await books.state() == before
    assert told(await books.post(PATH, {"ledger_transactions": [move(cash, wallet), of()]}))[0] == ACCEPTED
