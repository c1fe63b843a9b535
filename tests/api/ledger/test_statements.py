"""Account statements over HTTP: what one says, its entries then and later, what is refused, and whose they are."""

import base64
from typing import Any

import msgspec
import pytest

from tests.api.over_http import Books, Json, Refusal, entry, ids, refusal

pytestmark = pytest.mark.anyio

PATH = "/ledger_account_statements"
MARCH = {"effective_at_lower_bound": "2026-03-01T00:00:00Z", "effective_at_upper_bound": "2026-04-01T00:00:00Z"}
ZERO = (0, 0, 0)


async def state(books: Books, account: Json, **fields: Any) -> Json:
    answer = await books.post(PATH, {"ledger_account_id": account["id"], **MARCH, **fields})
    assert answer.status_code == 201, answer.text
    made: Json = answer.json()
    return made


def told(statement: Json, which: str) -> dict[str, tuple[int, int, int]]:
    """Return credits, debits and amount of the three balances; the texts beside them say the same."""
    found = {}
    for name in ("pending", "posted", "available"):
        balance = statement[f"{which}_balance"][f"{name}_balance"]
        numbers = (balance["credits"], balance["debits"], balance["amount"])
        assert tuple(str(number) for number in numbers) == tuple(
            balance[f"{part}_string"] for part in ("credits", "debits", "amount")
        )
        assert (balance["currency"], balance["currency_exponent"]) == ("PHP", 2)
        found[name] = numbers
    return found


async def year(books: Books) -> tuple[Json, Json]:
    """Give a wallet 1000 in February, 300 in March of which 120 are held again, and 50 in April."""
    cash, wallet = await books.cash_and_wallet()
    await books.transfer(cash, wallet, 1000, effective_at="2026-02-28T23:59:59.999999Z")
    await books.transfer(cash, wallet, 300, effective_at="2026-03-01T00:00:00Z")
    await books.transfer(wallet, cash, 120, "pending", effective_at="2026-03-31T23:59:59.999999Z")
    await books.transfer(cash, wallet, 50, effective_at="2026-04-01T00:00:00Z")
    return cash, wallet


async def test_a_statement_has_the_fields_of_the_wire_format(books: Books) -> None:
    _, wallet = await year(books)

    made = await state(books, wallet, description="March", metadata={"b": "2", "a": "1", "none": ""})

    assert told(made, "starting") == {
        "pending": (1000, 0, 1000),
        "posted": (1000, 0, 1000),
        "available": (1000, 0, 1000),
    }
    assert told(made, "ending") == {
        "pending": (1300, 120, 1180),
        "posted": (1300, 0, 1300),
        "available": (1300, 120, 1180),
    }
    balances = {name: made.pop(name) for name in ("starting_balance", "ending_balance")}
    for balance in balances.values():
        assert (balance["effective_at_lower_bound"], balance["effective_at_upper_bound"]) == (None, None)
    assert made == {
        "id": made["id"],
        "object": "ledger_account_statement",
        "live_mode": True,
        "created_at": made["created_at"],
        "updated_at": made["created_at"],
        "ledger_id": wallet["ledger_id"],
        "ledger_account_id": wallet["id"],
        "description": "March",
        "effective_at_lower_bound": "2026-03-01T00:00:00Z",
        "effective_at_upper_bound": "2026-04-01T00:00:00Z",
        "ledger_account_lock_version": 4,
        "ledger_account_normal_balance": "credit",
        "metadata": {"a": "1", "b": "2"},
    }
    assert await books.read(f"{PATH}/{made['id']}") == made | balances
    assert await books.read(PATH) == [made | balances]


async def test_of_a_debit_normal_account_the_amounts_have_the_other_sign(books: Books) -> None:
    cash, _ = await year(books)
    made = await state(books, cash)
    assert made["ledger_account_normal_balance"] == "debit"
    assert told(made, "ending") == {
        "pending": (120, 1300, 1180),
        "posted": (0, 1300, 1300),
        "available": (120, 1300, 1180),
    }


async def test_a_statement_and_its_entries_stay_as_they_were_made(books: Books) -> None:
    cash, wallet = await year(books)
    hold = (await books.read("/ledger_transactions?status=pending"))[0]
    made = await state(books, wallet)
    path = f"/ledger_entries?ledger_account_statement_id={made['id']}&show_balances=true"
    before = await books.read(path)
    assert [(row["amount"], row["direction"], row["status"]) for row in before] == [
        (120, "debit", "pending"),
        (300, "credit", "posted"),
    ]

    # Written later into March; what was held is resolved.
    await books.transfer(cash, wallet, 7, effective_at="2026-03-15T00:00:00Z")
    await books.patch(f"/ledger_transactions/{hold['id']}", {"status": "posted"})

    assert await books.read(f"{PATH}/{made['id']}") == made
    after = await books.read(path)
    # An entry shows as it is now that it was discarded since; all else of it is as it was.
    assert after[0].pop("discarded_at") == after[0].pop("updated_at") is not None
    assert before[0].pop("discarded_at") is None
    before[0].pop("updated_at")
    assert after == before
    anew = await state(books, wallet)
    assert told(anew, "ending")["posted"] == (1307, 120, 1187)
    listed = await books.read(f"/ledger_entries?ledger_account_statement_id={anew['id']}")
    assert [row["amount"] for row in listed] == [120, 7, 300]


async def test_metadata_of_a_statements_entry_may_change(books: Books) -> None:
    _, wallet = await year(books)
    made = await state(books, wallet)
    path = f"/ledger_entries?ledger_account_statement_id={made['id']}"
    row = (await books.read(path))[0]
    changed = (await books.patch(f"/ledger_entries/{row['id']}", {"metadata": {"k": "v"}})).json()
    assert (await books.read(path))[0] == changed
    assert ids(await books.get(f"{path}&metadata[k]=v")) == [row["id"]]


async def test_what_moved_is_what_the_entries_sum_to(books: Books) -> None:
    _, wallet = await year(books)
    made = await state(books, wallet)
    rows = await books.read(f"/ledger_entries?ledger_account_statement_id={made['id']}")
    for name in ("pending", "posted"):
        counted = [row for row in rows if name == "pending" or row["status"] == "posted"]
        moved = sum(row["amount"] if row["direction"] == "credit" else -row["amount"] for row in counted)
        assert told(made, "ending")[name][2] - told(made, "starting")[name][2] == moved


@pytest.mark.parametrize("time", ["created_at", "effective_at"])
@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("per_page", [1, 2, 7, 100])
async def test_the_entries_of_a_statement_are_paged_in_either_order(
    books: Books, time: str, direction: str, per_page: int
) -> None:
    cash, wallet = await books.cash_and_wallet()
    for number in range(12):
        # Some count when they are recorded, others long before or after, by threes at one time.
        when = {} if number % 3 else {"effective_at": f"20{20 + number}-03-01T00:00:00Z"}
        legs = [entry(cash, "debit", 2)] + [entry(wallet, "credit", 1, **when) for _ in range(2)]
        await books.post("/ledger_transactions", {"status": "posted", "ledger_entries": legs})
    made = await state(
        books, wallet, effective_at_lower_bound="2021-01-01T00:00:00Z", effective_at_upper_bound="2028-01-01T00:00:00Z"
    )
    rows = await books.read(f"/ledger_entries?ledger_account_id={wallet['id']}&per_page=100")
    rows = [row for row in rows if "2021" < row["effective_at"] < "2028"]
    assert len(rows) == 20
    rows.sort(key=lambda row: (row[time], row["ledger_account_lock_version"]), reverse=direction == "desc")

    query = f"/ledger_entries?ledger_account_statement_id={made['id']}&order_by[{time}]={direction}"
    pages = await books.pages(f"{query}&per_page={per_page}")

    assert [row for page in pages for row in page] == rows
    assert [len(page) for page in pages[:-1]] == [per_page] * (len(pages) - 1)
    if (time, direction) == ("created_at", "desc"):
        plain = f"/ledger_entries?ledger_account_statement_id={made['id']}&per_page=100"
        assert await books.read(plain) == rows


async def test_the_filter_joins_with_others(books: Books) -> None:
    cash, wallet = await year(books)
    made, of_cash = await state(books, wallet), await state(books, cash)
    path = f"/ledger_entries?ledger_account_statement_id={made['id']}"
    held, posted = await books.read(path)
    for query, expected in (
        ("status=posted", [posted]),
        ("direction=debit", [held]),
        ("amount[gt]=120", [posted]),
        ("effective_at[gt]=2026-03-02T00:00:00Z", [held]),
        ("effective_date[eq]=2026-03-31", [held]),
        (f"id[]={held['id']}", [held]),
        (f"ledger_transaction_id={posted['ledger_transaction_id']}", [posted]),
        (f"ledger_account_id={wallet['id']}", [held, posted]),
        (f"ledger_account_id={cash['id']}", []),
        (f"ledger_account_id={wallet['id']}&as_of_lock_version=2", [posted]),
        ("ledger_account_lock_version[eq]=3", [held]),
        ("show_deleted=true", [held, posted]),
        ("show_deleted=false", [held, posted]),
        ("metadata[k]=v", []),
    ):
        assert await books.read(f"{path}&{query}") == expected, query
    others = await books.read(f"/ledger_entries?ledger_account_statement_id={of_cash['id']}")
    assert {row["ledger_account_id"] for row in others} == {cash["id"]}


async def test_a_cursor_belongs_to_its_statement(books: Books) -> None:
    _, wallet = await year(books)
    one, other = await state(books, wallet), await state(books, wallet)
    first = await books.get(f"/ledger_entries?ledger_account_statement_id={one['id']}&per_page=1")
    cursor = first.headers["X-After-Cursor"]
    for query in (f"ledger_account_statement_id={other['id']}&per_page=1", f"ledger_account_id={wallet['id']}"):
        answer = await books.get(f"/ledger_entries?{query}&after_cursor={cursor}")
        assert refusal(answer) == Refusal(422, "invalid_cursor", "after_cursor")


async def test_lists_of_statements_are_filtered_and_paged_newest_first(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    other = await books.account(await books.ledger())
    made = [
        await state(books, account, metadata={"place": str(number % 2)})
        for number, account in enumerate([cash, wallet, other, wallet, wallet, other])
    ]

    assert await books.read(PATH) == made[::-1]
    for query, expected in (
        (f"ledger_account_id={wallet['id']}", [4, 3, 1]),
        (f"ledger_id={cash['ledger_id']}", [4, 3, 1, 0]),
        (f"ledger_id={cash['ledger_id']}&ledger_account_id={other['id']}", []),
        ("metadata[place]=1", [5, 3, 1]),
        (f"metadata[place]=0&ledger_account_id={wallet['id']}", [4]),
        (f"id[]={made[0]['id']}&id[]={made[5]['id']}", [5, 0]),
        (f"created_at[gt]={made[3]['created_at']}", [5, 4]),
        (f"created_at[gte]={made[2]['created_at']}&created_at[lt]={made[4]['created_at']}", [3, 2]),
        (f"created_at[eq]={made[1]['created_at']}", [1]),
    ):
        assert await books.read(f"{PATH}?{query}") == [made[place] for place in expected], query
        pages = await books.pages(f"{PATH}?{query}&per_page=2")
        assert [row for page in pages for row in page] == [made[place] for place in expected], query


async def test_an_empty_span_and_an_unused_account_are_stated(books: Books) -> None:
    cash, wallet = await year(books)
    made = await state(books, wallet, effective_at_upper_bound=MARCH["effective_at_lower_bound"])
    assert told(made, "starting") == told(made, "ending")
    assert await books.read(f"/ledger_entries?ledger_account_statement_id={made['id']}") == []
    unused = await state(books, await books.account({"id": cash["ledger_id"]}))
    assert unused["ledger_account_lock_version"] == 0
    assert told(unused, "ending") == {"pending": ZERO, "posted": ZERO, "available": ZERO}
    assert await books.read(f"/ledger_entries?ledger_account_statement_id={unused['id']}") == []


async def test_bounds_may_be_as_far_as_the_calendar_goes_and_are_exact_to_the_microsecond(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    times = ("0001-01-01T00:00:00.000001Z", "1969-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999998Z")
    for time in times:
        await books.transfer(cash, wallet, 1, effective_at=time)
    whole = await state(books, wallet, effective_at_lower_bound=times[0], effective_at_upper_bound=times[2])
    assert (told(whole, "starting")["posted"], told(whole, "ending")["posted"]) == (ZERO, (2, 0, 2))
    assert (whole["effective_at_lower_bound"], whole["effective_at_upper_bound"]) == (times[0], times[2])
    for way in ("asc", "desc"):
        query = f"/ledger_entries?ledger_account_statement_id={whole['id']}&order_by[effective_at]={way}&per_page=1"
        found = [row["effective_at"] for page in await books.pages(query) for row in page]
        assert found == sorted(times[:2], reverse=way == "desc")
    zoned = await state(
        books, wallet, effective_at_lower_bound="1970-01-01 08:00:00+08:00", effective_at_upper_bound=times[2]
    )
    assert zoned["effective_at_lower_bound"] == "1970-01-01T00:00:00Z"
    assert told(zoned, "starting")["posted"] == (2, 0, 2)


async def test_sums_beyond_10_to_the_36_are_exact(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    largest = 10**36
    for when in ("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"):
        await books.transfer(cash, wallet, largest, effective_at=when)
    await books.transfer(cash, wallet, 1, "pending", effective_at="2026-03-03T00:00:00Z")
    made = await state(books, wallet)
    assert told(made, "starting")["posted"] == (largest, 0, largest)
    assert told(made, "ending")["posted"] == (3 * largest, 0, 3 * largest)
    assert told(made, "ending")["pending"] == (3 * largest + 1, 0, 3 * largest + 1)
    assert f'"amount":{3 * largest + 1},' in (await books.get(f"{PATH}/{made['id']}")).text
    assert (await books.read(f"{PATH}?id[]={made['id']}")) == [made]
    rows = await books.read(f"/ledger_entries?ledger_account_statement_id={made['id']}&amount[eq]={largest}")
    assert [row["amount"] for row in rows] == [largest, largest]


@pytest.mark.parametrize(
    ("body", "code", "parameter"),
    [
        ({"ledger_account_id": ...}, "parameter_missing", "ledger_account_id"),
        ({"ledger_account_id": None}, "parameter_invalid", "ledger_account_id"),
        ({"effective_at_lower_bound": ...}, "parameter_missing", "effective_at_lower_bound"),
        ({"effective_at_upper_bound": ...}, "parameter_missing", "effective_at_upper_bound"),
        ({"effective_at_lower_bound": None}, "parameter_invalid", "effective_at_lower_bound"),
        ({"effective_at_upper_bound": 5}, "parameter_invalid", "effective_at_upper_bound"),
        ({"effective_at_upper_bound": "2026-04-31T00:00:00Z"}, "parameter_invalid", "effective_at_upper_bound"),
        ({"effective_at_lower_bound": "2026-03-01"}, "parameter_invalid", "effective_at_lower_bound"),
        ({"effective_at_lower_bound": "0001-01-01T00:00:00Z"}, "parameter_invalid", "effective_at_lower_bound"),
        ({"effective_at_upper_bound": "9999-12-31T23:59:59.999999Z"}, "parameter_invalid", "effective_at_upper_bound"),
        ({"effective_at_upper_bound": "2026-02-28T23:59:59.999999Z"}, "parameter_invalid", "effective_at_upper_bound"),
        ({"effective_at_upper_bound": "2026-03-01T00:00:00+01:00"}, "parameter_invalid", "effective_at_upper_bound"),
        ({"effective_at_lower_bound": "\x00"}, "invalid_text", "effective_at_lower_bound"),
        ({"description": "x" * 1001}, "parameter_invalid", "description"),
        ({"description": "a\x00b"}, "invalid_text", "description"),
        ({"metadata": {"k": "x" * 1001}}, "metadata_too_large", "metadata.k"),
        ({"metadata": {str(n): "x" for n in range(101)}}, "metadata_too_large", "metadata"),
        ({"metadata": "x"}, "parameter_invalid", "metadata"),
        ({"lock_version": 1}, "parameter_unknown", "lock_version"),
        ({"ledger_account_lock_version": 1}, "parameter_unknown", "ledger_account_lock_version"),
    ],
)
async def test_what_can_not_be_a_statement_is_refused_by_name(
    books: Books, body: Json, code: str, parameter: str
) -> None:
    _, wallet = await books.cash_and_wallet()
    before = await books.state()
    sent = {
        name: value for name, value in {"ledger_account_id": wallet["id"], **MARCH, **body}.items() if value is not ...
    }
    assert refusal(await books.post(PATH, sent)) == Refusal(422, code, parameter)
    assert await books.state() == before


@pytest.mark.parametrize(
    ("path", "code", "parameter"),
    [
        (f"{PATH}?ledger_id=x", "parameter_invalid", "ledger_id"),
        (f"{PATH}?ledger_account_id=1", "parameter_invalid", "ledger_account_id"),
        (f"{PATH}?created_at[gt]=x", "parameter_invalid", "created_at[gt]"),
        (f"{PATH}?created_at=2026-01-01T00:00:00Z", "parameter_invalid", "created_at"),
        (f"{PATH}?metadata[]=x", "parameter_invalid", "metadata[]"),
        (f"{PATH}?per_page=101", "parameter_invalid", "per_page"),
        (f"{PATH}?after_cursor=AAAA", "invalid_cursor", "after_cursor"),
        (f"{PATH}?effective_at_lower_bound=x", "parameter_unknown", "effective_at_lower_bound"),
        ("/ledger_entries?ledger_account_statement_id=x", "parameter_invalid", "ledger_account_statement_id"),
        ("/ledger_entries?ledger_account_statement_id[]=x", "parameter_unknown", "ledger_account_statement_id[]"),
    ],
)
async def test_a_query_that_can_not_be_is_refused_by_name(books: Books, path: str, code: str, parameter: str) -> None:
    assert refusal(await books.get(path)) == Refusal(422, code, parameter)


async def test_a_forged_cursor_leads_to_nothing_worse_than_an_odd_page(books: Books) -> None:
    _, wallet = await year(books)
    made = await state(books, wallet)
    for order in ("", "&order_by[effective_at]=asc", "&order_by[effective_at]=desc", "&order_by[created_at]=asc"):
        path = f"/ledger_entries?ledger_account_statement_id={made['id']}&per_page=1{order}"
        cursor = (await books.get(path)).headers["X-After-Cursor"]
        digest, _, ledger, _ = msgspec.msgpack.decode(base64.urlsafe_b64decode(cursor + "=="))
        for time in (-62135596800000000, -1, 0, 1, 253402300799999999):
            for key in (0, 1, 2**62 - 1):
                packed = msgspec.msgpack.encode([digest, time, ledger, key])
                forged = base64.urlsafe_b64encode(packed).rstrip(b"=").decode()
                answer = await books.get(f"{path}&after_cursor={forged}")
                assert answer.status_code == 200, (order, time, key, answer.text)


async def test_what_is_not_there_is_not_found(books: Books) -> None:
    cash, wallet = await year(books)
    made = await state(books, wallet)
    another_second = f"00000001{made['id'][8:]}"
    before = await books.state()
    for id_ in ("x", cash["id"], another_second, "ffffffff-ffff-8fff-bfff-ffffffffffff"):
        assert refusal(await books.get(f"{PATH}/{id_}")).status == 404
        if id_ != "x":
            assert await books.read(f"/ledger_entries?ledger_account_statement_id={id_}") == []
    for account in (cash["ledger_id"], f"00000001{wallet['id'][8:]}", made["id"], "x"):
        answer = await books.post(PATH, {"ledger_account_id": account, **MARCH})
        assert refusal(answer) == Refusal(404, "object_not_found", "ledger_account_id")
    assert await books.state() == before
    for method in ("PATCH", "DELETE", "PUT"):
        answer = await books.client.request(method, f"/api{PATH}/{made['id']}")
        assert refusal(answer) == Refusal(405, "method_not_allowed", None)
    assert (await books.get(f"{PATH}/{made['id'].upper()}")).status_code == 200


async def test_of_a_discarded_account_a_statement_is_made_and_in_a_discarded_ledger_none(books: Books) -> None:
    ledger = await books.ledger()
    cash, wallet = await books.account(ledger), await books.account(ledger, "credit")
    for legs in ((cash, wallet), (wallet, cash)):
        await books.transfer(*legs, 5, effective_at="2026-03-02T00:00:00Z")
    await books.delete(f"/ledger_accounts/{wallet['id']}")
    made = await state(books, wallet)
    assert told(made, "ending")["posted"] == (5, 5, 0)
    assert len(await books.read(f"/ledger_entries?ledger_account_statement_id={made['id']}")) == 2

    await books.delete(f"/ledgers/{ledger['id']}")
    before = await books.state()
    answer = await books.post(PATH, {"ledger_account_id": cash["id"], **MARCH})
    assert refusal(answer) == Refusal(422, "ledger_discarded", None)
    assert await books.state() == before
    assert await books.read(f"{PATH}/{made['id']}") == made


async def test_nobody_reads_or_makes_a_statement_of_what_is_anothers(books: Books, others: Books) -> None:
    _, wallet = await year(books)
    _, their_wallet = await year(others)
    ours, theirs = await state(books, wallet), await state(others, their_wallet)
    before = await books.state()
    assert refusal(await books.get(f"{PATH}/{theirs['id']}")) == Refusal(404, "object_not_found", None)
    answer = await books.post(PATH, {"ledger_account_id": their_wallet["id"], **MARCH})
    assert refusal(answer) == Refusal(404, "object_not_found", "ledger_account_id")
    assert await books.state() == before
    for path in (
        f"{PATH}?id[]={theirs['id']}",
        f"{PATH}?ledger_account_id={their_wallet['id']}",
        f"{PATH}?ledger_id={theirs['ledger_id']}",
        f"/ledger_entries?ledger_account_statement_id={theirs['id']}",
        f"/ledger_entries?ledger_account_statement_id={theirs['id']}&ledger_account_id={wallet['id']}",
        f"/ledger_entries?ledger_account_statement_id={ours['id']}&ledger_account_id={their_wallet['id']}",
    ):
        assert await books.read(path) == [], path
    assert await books.read(PATH) == [ours]


async def test_a_key_that_may_only_read_makes_no_statement(books: Books) -> None:
    _, wallet = await books.cash_and_wallet()
    made = await state(books, wallet)
    auth = (str(books.organization_id), await books.key("read"))
    before = await books.state()
    answer = await books.client.post(f"/api{PATH}", json={"ledger_account_id": wallet["id"], **MARCH}, auth=auth)
    assert refusal(answer) == Refusal(403, "role_insufficient", None)
    assert await books.state() == before
    assert (await books.client.get(f"/api{PATH}/{made['id']}", auth=auth)).json() == made


async def test_a_repeated_key_has_one_effect_and_the_same_answer(books: Books) -> None:
    cash, wallet = await year(books)
    body = {"ledger_account_id": wallet["id"], **MARCH}
    made = await books.post(PATH, body, "k")
    await books.transfer(cash, wallet, 9, effective_at="2026-03-09T00:00:00Z")
    before = await books.state()
    assert (await books.post(PATH, body, "k")).content == made.content
    assert refusal(await books.post(PATH, {**body, "description": "x"}, "k")) == Refusal(
        422, "idempotency_key_reused", None
    )
    assert await books.state() == before
