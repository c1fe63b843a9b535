"""Batches over HTTP: many transactions of one ledger in one request, each by itself or all of them or none."""

import asyncio
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
from tests.api.over_http import Books, Json, Refusal, entry, ids, pair, refusal

pytestmark = pytest.mark.anyio


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
    expected = Refusal(422, "too_many_items", "ledger_transactions")
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

    @pytest.mark.parametrize("monitored", [False, True], ids=["records alone", "monitors between them"])
    async def test_a_batch_that_was_accepted_whole_is_repeated_from_the_log(
        self, books: Books, monitored: bool
    ) -> None:
        cash, wallet = await books.cash_and_wallet()
        if monitored:
            crossing = {"field": "posted_balance_amount", "operator": "greater_than", "value": 5}
            monitor = {"ledger_account_id": wallet["id"], "alert_condition": crossing}
            assert (await books.post("/ledger_account_balance_monitors", monitor)).status_code == 201
        items = [
            move(cash, wallet, number, description="Ünïcode 💸", metadata={"b": "1", "a": str(number)}, **fields)
            for number, fields in enumerate(
                [{"status": "pending"}, {"status": "archived"}, {"effective_at": "2020-02-29T00:00:00Z"}] * 20, 1
            )
        ]
        first = await send(books, items, key="k")
        hold, _, posted, *_ = made(first)
        async with books.service.engine.database.connection() as connection:
            [kept] = await connection.fetchrow(
                "select kept from idempotency_keys order by sequence desc nulls last limit 1"
            )
        assert (kept is not None) is monitored
        for changed in (
            await books.patch(f"/ledger_transactions/{hold['id']}", {"status": "posted", "metadata": {"a": ""}}),
            await books.patch(f"/ledger_entries/{posted['ledger_entries'][0]['id']}", {"metadata": {"c": "d"}}),
            await books.post(f"/ledger_transactions/{posted['id']}/reversal", {}),
        ):
            assert changed.status_code < 300, changed.text
        before = await books.state()
        assert (await send(books, items, key="k")).content == first.content
        assert await books.state() == before

    async def test_balances_that_a_batch_showed_are_shown_again(self, books: Books) -> None:
        cash, wallet = await books.cash_and_wallet()
        shown = entry(cash, "debit", 1, show_resulting_ledger_account_balances=True)
        items = [of(shown, entry(wallet, "credit", 1))] * 2
        first = await send(books, items, key="k")
        await books.transfer(cash, wallet, 15)
        assert (await send(books, items, key="k")).content == first.content

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

    @pytest.mark.parametrize("refused_", [[of()], []], ids=["with a refusal", "accepted whole"])
    async def test_a_key_sent_several_times_at_once_has_one_effect_and_one_answer(
        self, books: Books, refused_: list[Json]
    ) -> None:
        cash, wallet = await books.cash_and_wallet()
        items = [move(cash, wallet, 1), *refused_, move(cash, wallet, 2)]
        beside = [books.post("/ledger_transactions", move(cash, wallet, 1), key=f"beside {n}") for n in range(6)]
        answers = await asyncio.gather(*(send(books, items, key="k") for _ in range(6)), *beside)
        assert {(answer.status_code, answer.content) for answer in answers[:6]} == {(200, answers[0].content)}
        assert (await books.balances(wallet))["posted"] == (9, 0, 9)

    async def test_transactions_of_many_entries_are_repeated_as_they_were(self, books: Books) -> None:
        cash, wallet = await books.cash_and_wallet()
        items = [of(*pair(cash, wallet, number) * number) for number in (1, 300, 2, 500, 99, 1)]
        first = await send(books, items, key="k")
        assert set(told(first)) == {ACCEPTED}
        await books.transfer(cash, wallet, 15)
        assert (await send(books, items, key="k")).content == first.content

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
