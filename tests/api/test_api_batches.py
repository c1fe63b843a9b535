"""Batches over HTTP: many transactions of one ledger in one request, each by itself or all of them or none."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import httpx2
import pytest
from over_http import Books, Json, Refusal, entry, ids, pair, refusal

pytestmark = pytest.mark.anyio

PATH = "/ledger_transactions/batch"
LARGEST = 10**36
NOT_FOUND = "object_not_found"


def of(*legs: Json, **fields: Any) -> Json:
    return {"ledger_entries": list(legs), "status": "posted", **fields}


def move(debited: Json, credited: Json, amount: int = 100, **fields: Any) -> Json:
    return of(*pair(debited, credited, amount), **fields)


async def send(books: Books, items: Sequence[Any], *, atomic: bool = False, key: str | None = None) -> httpx2.Response:
    return await books.post(PATH, {"atomic": atomic, "ledger_transactions": list(items)}, key)


async def send_lines(
    books: Books,
    content: bytes | str,
    query: str = "",
    key: str | None = None,
    media_type: str = "application/x-ndjson",
) -> httpx2.Response:
    headers = {"Content-Type": media_type, **({"Idempotency-Key": key} if key else {})}
    return await books.client.post(f"/api{PATH}{query}", content=content, headers=headers)


def lines(*items: Any) -> str:
    return "".join(f"{json.dumps(item)}\n" for item in items)


class Told(NamedTuple):
    """What one transaction of a batch was told."""

    status: str
    code: str | None
    parameter: str | None


def told(answer: httpx2.Response) -> list[Told]:
    """Return what became of each; each result has the same form."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"results"}
    found = []
    for result in answer.json()["results"]:
        assert set(result) == {"status", "ledger_transaction", "errors"}
        if result["status"] == "accepted":
            assert result["errors"] is None
            assert result["ledger_transaction"]["object"] == "ledger_transaction"
            found.append(Told("accepted", None, None))
        else:
            assert result["ledger_transaction"] is None
            errors = result["errors"]
            assert set(errors) == {"code", "message", "parameter", "refusal"}
            found.append(Told(result["status"], errors["refusal"]["code"], errors["parameter"]))
    return found


def made(answer: httpx2.Response) -> list[Json]:
    assert {each.status for each in told(answer)} == {"accepted"}
    return [result["ledger_transaction"] for result in answer.json()["results"]]


def refused(code: str, parameter: str | None) -> Told:
    return Told("refused", code, parameter)


ACCEPTED = Told("accepted", None, None)


class Fault(NamedTuple):
    """Why an atomic batch was refused."""

    status: int
    place: int
    code: str
    parameter: str | None


def fault(answer: httpx2.Response) -> Fault:
    """Return which transaction refused an atomic batch, and why; the answer says it in all its places alike."""
    body = answer.json()
    assert set(body) == {"errors", "index"}
    errors = body["errors"]
    assert set(errors) == {"code", "message", "parameter", "refusal"}
    assert errors["code"] == "parameter_invalid"
    why = errors["refusal"]
    assert (why["code"], why["retryable"], why["index"]) == ("batch_refused", False, body["index"])
    assert why["refusal"]["message"] in errors["message"]
    return Fault(answer.status_code, body["index"], why["refusal"]["code"], errors["parameter"])


class TestBatch:
    @pytest.mark.parametrize("atomic", [False, True], ids=["plain", "atomic"])
    async def test_each_transaction_is_made_in_order_and_answered_as_if_alone(self, books: Books, atomic: bool) -> None:
        cash, wallet = await books.cash_and_wallet()
        items = [
            move(cash, wallet, 100, external_id="a", description="first", metadata={"n": "1"}),
            move(cash, wallet, 50, status="pending", effective_at="2024-01-01T00:00:00Z"),
            {"ledger_entries": pair(cash, wallet, 7)},
            move(cash, wallet, 3, status="archived", effective_date="2024-02-29"),
            move(cash, wallet, 5, status="pending", expires_at="2999-01-01T00:00:00Z"),
        ]
        transactions = made(await send(books, items, atomic=atomic))
        assert [each["status"] for each in transactions] == ["posted", "pending", "pending", "archived", "pending"]
        assert [each["ledger_entries"][1]["amount"] for each in transactions] == [100, 50, 7, 3, 5]
        assert [each["ledger_entries"][1]["ledger_account_lock_version"] for each in transactions] == [1, 2, 3, None, 4]
        first = transactions[0]
        assert (first["external_id"], first["description"], first["metadata"]) == ("a", "first", {"n": "1"})
        for each in transactions:
            assert await books.read(f"/ledger_transactions/{each['id']}") == each
        assert ids(await books.get(f"/ledger_transactions?ledger_id={cash['ledger_id']}")) == ids(transactions[::-1])
        assert await books.balances(wallet) == {
            "pending": (162, 0, 162), "posted": (100, 0, 100), "available": (100, 0, 100)
        }  # fmt: skip

    async def test_one_that_is_refused_touches_none_of_the_others(self, books: Books) -> None:
        cash, wallet = await books.cash_and_wallet()
        broke = [entry(wallet, "debit", 10, available_balance_amount={"gte": 0}), entry(cash, "credit", 10)]
        answer = await send(
            books,
            [
                of(*broke, external_id="x"),
                move(cash, wallet, 10),
                of(entry(cash, "debit", 2), entry(wallet, "credit", 1), external_id="x"),
                of(*broke, external_id="x"),
                {"ledger_entries": "many"},
                of(*broke),
            ],
        )
        where = "ledger_entries[0].available_balance_amount"
        assert told(answer) == [
            refused("balance_lock_failed", where),
            ACCEPTED,
            refused("unbalanced", "ledger_entries"),
            ACCEPTED,
            refused("parameter_invalid", "ledger_entries"),
            refused("balance_lock_failed", where),
        ]
        assert answer.json()["results"][0]["errors"]["refusal"]["amount"] == -10
        assert await books.balances(wallet) == dict.fromkeys(("pending", "posted", "available"), (10, 10, 0))
        assert len(await books.read(f"/ledger_transactions?ledger_id={cash['ledger_id']}")) == 2

    async def test_the_amounts_of_a_batch_sum_beyond_10_to_the_36(self, books: Books) -> None:
        cash, wallet = await books.cash_and_wallet()
        items = [
            of(
                entry(cash, "debit", LARGEST),
                {**entry(wallet, "credit"), "amount": None, "amount_string": str(LARGEST)},
            ),
            move(cash, wallet, LARGEST),
            of(
                *pair(cash, wallet, LARGEST)[:1],
                entry(wallet, "credit", LARGEST, posted_balance_amount={"eq": 3 * LARGEST}),
            ),
        ]
        assert [each["ledger_entries"][1]["amount"] for each in made(await send(books, items))] == [LARGEST] * 3
        assert (await books.balances(wallet))["posted"] == (3 * LARGEST, 0, 3 * LARGEST)
        beyond = await send(books, [move(cash, wallet, LARGEST + 1), move(cash, wallet, 1)])
        assert told(beyond) == [refused("amount_out_of_range", "ledger_entries[0].amount"), ACCEPTED]

    async def test_locks_look_at_what_the_batch_has_done_so_far(self, books: Books) -> None:
        cash, wallet = await books.cash_and_wallet()

        def spend(amount: int, **lock: Any) -> Json:
            return of(entry(wallet, "debit", amount, **lock), entry(cash, "credit", amount))

        never_below = {"available_balance_amount": {"gte": 0}}
        answer = await send(
            books,
            [
                move(cash, wallet, 100),
                spend(60, lock_version=1, **never_below),
                spend(60, **never_below),
                spend(40, lock_version=2, posted_balance_amount={"eq": 0}),
                spend(1, lock_version=2),
            ],
        )
        assert [each.code for each in told(answer)] == [
            None, None, "balance_lock_failed", None, "lock_version_mismatch"
        ]  # fmt: skip
        assert (await books.balances(wallet))["available"] == (100, 100, 0)

    async def test_a_failed_lock_that_is_kept_as_archived_is_accepted(self, books: Books) -> None:
        cash, wallet = await books.cash_and_wallet()
        legs = [entry(wallet, "debit", 1, available_balance_amount={"gte": 0}), entry(cash, "credit", 1)]
        items = [of(*legs, archive_on_balance_lock_failure=True), move(cash, wallet, 1)]
        transactions = made(await send(books, items, atomic=True))
        assert [(each["status"], each["archived_reason"]) for each in transactions] == [
            ("archived", "balance_lock_failure"), ("posted", None)
        ]  # fmt: skip

    async def test_the_balances_that_result_are_shown_where_they_are_asked_for(self, books: Books) -> None:
        cash, wallet = await books.cash_and_wallet()
        shows = {"show_resulting_ledger_account_balances": True}
        items = [
            move(cash, wallet, 5),
            of(entry(cash, "debit", 7), entry(wallet, "credit", 7, **shows)),
            of(entry(cash, "debit", 0, **shows), entry(wallet, "credit", 1)),
            of(entry(cash, "debit", 9, **shows), entry(wallet, "credit", 9)),
        ]
        answer = await send(books, items)
        assert told(answer) == [ACCEPTED, ACCEPTED, refused("unbalanced", "ledger_entries"), ACCEPTED]
        shown = [
            [found["resulting_ledger_account_balances"] for found in result["ledger_transaction"]["ledger_entries"]]
            for result in answer.json()["results"]
            if result["ledger_transaction"]
        ]
        amounts = [[balances and balances["posted_balance"]["amount"] for balances in each] for each in shown]
        assert amounts == [[None, None], [None, 12], [21, None]]

    async def test_an_external_id_is_given_once_in_a_batch_and_its_ledger(self, books: Books) -> None:
        cash, wallet = await books.cash_and_wallet()
        await books.transfer(cash, wallet, external_id="old")
        items = [
            move(cash, wallet, external_id="new"),
            move(cash, wallet, external_id="old"),
            move(cash, wallet, external_id="new"),
            move(cash, wallet, external_id="new", status="archived"),
            move(cash, wallet, external_id="newer"),
        ]
        answer = await send(books, items)
        assert [each.code for each in told(answer)] == [None, "external_id_taken", "external_id_taken", None, None]
        results = answer.json()["results"]
        assert results[2]["errors"]["refusal"]["taken_by"] == results[0]["ledger_transaction"]["id"]
        before = await books.state()
        again = [move(cash, wallet, external_id="first"), move(cash, wallet, external_id="first")]
        answer = await send(books, again, atomic=True)
        assert fault(answer) == Fault(422, 1, "external_id_taken", "ledger_transactions[1].external_id")
        # None of it was done: the id named by the refusal belongs to nothing.
        assert await books.state() == before
        assert told(await send(books, again)) == [ACCEPTED, refused("external_id_taken", "external_id")]


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


async def test_a_batch_is_only_posted_and_a_transaction_may_be_called_so(books: Books) -> None:
    for method in ("PUT", "DELETE"):
        answer = await books.client.request(method, f"/api{PATH}")
        assert refusal(answer) == Refusal(405, "method_not_allowed", None)
    assert refusal(await books.get(PATH)) == Refusal(404, NOT_FOUND, None)
    named = await books.transfer(*(await books.cash_and_wallet()), external_id="batch")
    assert await books.read(PATH) == named
    assert (await books.patch(PATH, {"metadata": {"a": "b"}})).json()["id"] == named["id"]


async def test_10_000_transactions_are_taken_and_10_001_are_not(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    line = lines(move(cash, wallet, 1))
    before = await books.state()
    expected = Refusal(422, "too_many_transactions", "ledger_transactions")
    for query in ("?atomic=true", "?atomic=false"):
        answer = await send_lines(books, line * 10_001, query)
        assert refusal(answer) == expected
        assert answer.json()["errors"]["refusal"]["count"] == 10_001
    too_many = f'{{"ledger_transactions": [{",".join([line] * 10_001)}]}}'
    assert refusal(await send_lines(books, too_many, media_type="application/json")) == expected
    assert await books.state() == before
    last_is_bad = await send_lines(books, line * 9_999 + "{}\n", "?atomic=true")
    where = "ledger_transactions[9999].ledger_entries"
    assert fault(last_is_bad) == Fault(422, 9_999, "parameter_missing", where)
    broke = of(entry(wallet, "debit", 10_000, posted_balance_amount={"gte": 0}), entry(cash, "credit", 10_000))
    last_is_refused = await send_lines(books, line * 9_999 + lines(broke), "?atomic=true")
    where = "ledger_transactions[9999].ledger_entries[0].posted_balance_amount"
    assert fault(last_is_refused) == Fault(422, 9_999, "balance_lock_failed", where)
    assert await books.state() == before
    transactions = made(await send_lines(books, line * 10_000, "?atomic=true"))
    assert len({each["id"] for each in transactions}) == 10_000
    assert [each["ledger_entries"][1]["ledger_account_lock_version"] for each in transactions] == list(range(1, 10_001))
    assert (await books.balances(wallet))["posted"] == (10_000, 0, 10_000)


async def test_a_batch_takes_transactions_of_a_thousand_entries(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    large = of(*pair(cash, wallet, 1) * 500)
    beyond = of(*pair(cash, wallet, 1) * 500, entry(cash, "debit", 0))
    answer = await send(books, [large, beyond, large])
    assert told(answer) == [ACCEPTED, refused("too_many_entries", "ledger_entries"), ACCEPTED]
    assert (await books.balances(wallet))["posted"] == (1000, 0, 1000)


class TestIdempotency:
    @pytest.mark.parametrize("atomic", [False, True], ids=["plain", "atomic"])
    async def test_a_repeated_key_answers_the_same_bytes_even_after_later_changes(
        self, books: Books, atomic: bool
    ) -> None:
        cash, wallet = await books.cash_and_wallet()
        items = [move(cash, wallet, 1, status="pending", metadata={"b": "1", "a": "2"}), move(cash, wallet, 2)]
        items += [] if atomic else [of(), move(cash, wallet, 3)]
        first = await send(books, items, atomic=atomic, key="k")
        assert told(first)[:2] == [ACCEPTED, ACCEPTED]
        transaction = first.json()["results"][0]["ledger_transaction"]
        await books.patch(f"/ledger_transactions/{transaction['id']}", {"status": "archived", "metadata": {"a": ""}})
        before = await books.state()
        again = await send(books, items, atomic=atomic, key="k")
        assert (again.status_code, again.content) == (200, first.content)
        for other in (
            await send(books, items[:1], atomic=atomic, key="k"),
            await send(books, items, atomic=not atomic, key="k"),
            await send_lines(books, lines(*items), f"?atomic={str(atomic).lower()}", key="k"),
        ):
            if other.status_code == 422 and "index" in other.json():
                continue  # one that can't be read refuses an atomic batch before any key is looked at
            assert refusal(other) == Refusal(422, "idempotency_key_reused", None)
        assert await books.state() == before

    async def test_lines_are_repeated_as_they_were(self, books: Books) -> None:
        cash, wallet = await books.cash_and_wallet()
        content = lines(move(cash, wallet, 1), of())
        first = await send_lines(books, content, "?atomic=false", key="k")
        before = await books.state()
        assert (await send_lines(books, content, "?atomic=false", key="k")).content == first.content
        assert (await send_lines(books, content, key="k")).content == first.content
        assert refusal(await send_lines(books, content + lines(of()), key="k")).code == "idempotency_key_reused"
        assert await books.state() == before

    async def test_a_batch_of_which_nothing_was_done_consumes_no_key(self, books: Books) -> None:
        cash, wallet = await books.cash_and_wallet()
        spend = of(entry(wallet, "debit", 5, available_balance_amount={"gte": 0}), entry(cash, "credit", 5))
        before = await books.state()
        # Beside one that is accepted, and alone.
        answers = await asyncio.gather(send(books, [spend], key="k"), send(books, [{}, spend], key="l"))
        for answer in (*answers, await send(books, [spend], atomic=True, key="m")):
            assert answer.status_code == 422 or {each.status for each in told(answer)} == {"refused"}
        assert await books.state() == before
        await books.transfer(cash, wallet, 15)
        assert told(await send(books, [spend], key="k")) == [ACCEPTED]
        assert told(await send(books, [{}, spend], key="l"))[1] == ACCEPTED
        assert told(await send(books, [spend], atomic=True, key="m")) == [ACCEPTED]

    async def test_a_key_of_a_batch_of_nothing_is_free_beside_writes_that_are_accepted(self, books: Books) -> None:
        cash, wallet = await books.cash_and_wallet()
        spend = of(entry(wallet, "debit", 500, available_balance_amount={"gte": 0}), entry(cash, "credit", 500))
        answers = await asyncio.gather(
            books.post("/ledger_transactions", move(cash, wallet, 1), key="a"),
            send(books, [spend], key="k"),
            books.post("/ledger_transactions", move(cash, wallet, 1), key="b"),
        )
        assert [answer.status_code for answer in answers] == [201, 200, 201]
        await books.transfer(cash, wallet, 500)
        assert told(await send(books, [spend], key="k")) == [ACCEPTED]

    async def test_a_key_sent_several_times_at_once_has_one_effect_and_one_answer(self, books: Books) -> None:
        cash, wallet = await books.cash_and_wallet()
        items = [move(cash, wallet, 1), of(), move(cash, wallet, 2)]
        answers = await asyncio.gather(*(send(books, items, key="k") for _ in range(6)))
        assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
        assert (await books.balances(wallet))["posted"] == (3, 0, 3)

    async def test_a_key_belongs_to_the_route(self, books: Books) -> None:
        cash, wallet = await books.cash_and_wallet()
        assert told(await send(books, [move(cash, wallet)], key="k")) == [ACCEPTED]
        single = await books.post("/ledger_transactions", move(cash, wallet), key="k")
        assert single.status_code == 201


class TestTenancy:
    async def test_anothers_accounts_are_not_found_and_tell_nothing_of_their_ledger(
        self, books: Books, others: Books
    ) -> None:
        cash, wallet = await books.cash_and_wallet()
        theirs, their_wallet = await others.cash_and_wallet()
        bad = refused(NOT_FOUND, "ledger_entries[0].ledger_account_id")
        before = await books.state()
        assert told(await send(books, [move(theirs, their_wallet)] * 2)) == [bad, bad]
        for index, items in enumerate(
            ([move(theirs, their_wallet), move(cash, wallet)], [move(cash, wallet), move(theirs, their_wallet)])
        ):
            where = f"ledger_transactions[{index}].ledger_entries[0].ledger_account_id"
            assert fault(await send(books, items, atomic=True)) == Fault(422, index, NOT_FOUND, where)
        assert await books.state() == before
        mixed = [move(theirs, their_wallet), move(cash, wallet, 1), of(*pair(cash, their_wallet))]
        assert told(await send(books, mixed)) == [
            bad, ACCEPTED, refused(NOT_FOUND, "ledger_entries[1].ledger_account_id")
        ]  # fmt: skip
        assert (await others.balances(theirs))["posted"] == (0, 0, 0)

    async def test_the_first_transaction_that_can_be_read_says_which_ledger_it_is(self, books: Books) -> None:
        first, second = await books.cash_and_wallet(), await books.cash_and_wallet()
        unbalanced = of(entry(first[0], "debit", 2), entry(first[1], "credit", 1))
        answer = await send(books, [{}, unbalanced, move(*second), move(*first)])
        assert [each.code for each in told(answer)] == ["parameter_missing", "unbalanced", "mixed_ledgers", None]
        ledgers = answer.json()["results"][2]["errors"]["refusal"]["ledger_ids"]
        assert sorted(ledgers) == sorted([first[0]["ledger_id"], second[0]["ledger_id"]])

    async def test_a_key_that_may_only_read_posts_no_batch(self, books: Books) -> None:
        cash, wallet = await books.cash_and_wallet()
        auth = (str(books.organization_id), await books.key("read"))
        before = await books.state()
        body = {"ledger_transactions": [move(cash, wallet)]}
        assert refusal(await books.client.post(f"/api{PATH}", json=body, auth=auth)).code == "role_insufficient"
        assert await books.state() == before

    async def test_a_discarded_ledger_takes_no_batch(self, books: Books) -> None:
        cash, wallet = await books.cash_and_wallet()
        kept = await send(books, [move(cash, wallet)], key="k")
        await books.delete(f"/ledgers/{cash['ledger_id']}")
        before = await books.state()
        for atomic in (False, True):
            answer = await send(books, [move(cash, wallet)], atomic=atomic)
            assert refusal(answer) == Refusal(422, "ledger_discarded", None)
        assert (await send(books, [move(cash, wallet)], key="k")).content == kept.content
        assert await books.state() == before


async def test_batches_at_once_and_singles_beside_them_never_pass_a_guard(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    await books.transfer(cash, wallet, 100)
    spend = of(entry(wallet, "debit", 7, available_balance_amount={"gte": 0}), entry(cash, "credit", 7))
    answers = await asyncio.gather(
        *(
            send(books, [spend] * 3, atomic=True) if number % 3 == 0
            else send(books, [spend] * 3) if number % 3 == 1
            else books.post("/ledger_transactions", spend)
            for number in range(12)
        )
    )  # fmt: skip
    spent = sum(
        sum(result["status"] == "accepted" for result in answer.json()["results"]) if answer.status_code == 200 else 1
        for answer in answers
        if answer.status_code in {200, 201}
    )
    assert spent == 14
    assert (await books.balances(wallet))["available"] == (100, 98, 2)
