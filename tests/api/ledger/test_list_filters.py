"""Lists: what each filter lets through."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.over_http import Books, Json, entry, ids, pair

pytestmark = pytest.mark.anyio

TIMES = ("2024-01-31T23:59:59.999999Z", "2024-02-01T00:00:00Z", "2024-02-01T12:00:00Z", "2024-02-02T00:00:00Z")
# Which of the four times each comparison with the third, or its day, lets through.
BY_TIME = {"gt": {3}, "gte": {2, 3}, "eq": {2}, "lte": {0, 1, 2}, "lt": {0, 1}}
BY_DATE = {"gt": {3}, "gte": {1, 2, 3}, "eq": {1, 2}, "lte": {0, 1, 2}, "lt": {0}}


async def at_four_times(books: Books) -> tuple[list[Json], Json]:
    cash, wallet = await books.cash_and_wallet()
    made = [
        await books.transfer(cash, wallet, amount, effective_at=time)
        for amount, time in zip((10, 20, 30, 40), TIMES, strict=True)
    ]
    return made, wallet


def places(found: list[Json], made: list[Json], name: str = "id") -> set[int]:
    numbers = {row["id"]: number for number, row in enumerate(made)}
    assert len(found) == len({row["id"] for row in found})
    return {numbers[row[name]] for row in found}


@pytest.mark.parametrize(
    "written",
    ["2024-02-01T12:00:00Z", "2024-02-01 12:00:00", "2024-02-01 12:00:00+00:00", "2024-02-01T14:00:00.000+0200",
     "2024-02-01t12:00:00.0000009z"],
)  # fmt: skip
@pytest.mark.parametrize("comparison", BY_TIME)
async def test_effective_at_is_compared_however_the_time_is_written(
    books: Books, comparison: str, written: str
) -> None:
    made, wallet = await at_four_times(books)
    query = f"effective_at[{comparison}]={quote(written)}"
    assert places(await books.read(f"/ledger_transactions?{query}"), made) == BY_TIME[comparison]
    found = await books.read(f"/ledger_entries?{query}&ledger_account_id={wallet['id']}")
    assert places(found, made, "ledger_transaction_id") == BY_TIME[comparison]


@pytest.mark.parametrize("comparison", BY_DATE)
async def test_effective_date_is_compared_by_days_of_utc(books: Books, comparison: str) -> None:
    made, _ = await at_four_times(books)
    # A time stands for its day, as the official client writes one here.
    for day in ("2024-02-01", "2024-02-01 12:34:56", "2024-02-02T01:00:00%2B02:00"):
        query = f"effective_date[{comparison}]={day}"
        assert places(await books.read(f"/ledger_transactions?{query}"), made) == BY_DATE[comparison]
        found = await books.read(f"/ledger_entries?{query}&direction=debit")
        assert places(found, made, "ledger_transaction_id") == BY_DATE[comparison]


@pytest.mark.parametrize(("day", "count"), [("0001-01-01", 4), ("9999-12-31", 0)])
async def test_the_first_and_the_last_day_of_the_calendar_can_be_compared_with(
    books: Books, day: str, count: int
) -> None:
    await at_four_times(books)
    for comparison in ("gt", "gte"):
        found = await books.read(f"/ledger_transactions?effective_date[{comparison}]={day}")
        assert len(found) == count
    assert len(await books.read(f"/ledger_transactions?effective_date[lte]={day}")) == 4 - count


@pytest.mark.parametrize("comparison", BY_TIME)
async def test_amounts_are_compared(books: Books, comparison: str) -> None:
    made, _ = await at_four_times(books)
    query = f"amount[{comparison}]=30"
    assert places(await books.read(f"/ledger_transactions?{query}"), made) == BY_TIME[comparison]
    found = await books.read(f"/ledger_entries?{query}&direction=credit")
    assert places(found, made, "ledger_transaction_id") == BY_TIME[comparison]


@pytest.mark.parametrize("comparison", BY_TIME)
@pytest.mark.parametrize("name", ["created_at", "updated_at", "posted_at"])
async def test_recorded_times_are_compared(books: Books, name: str, comparison: str) -> None:
    made, _ = await at_four_times(books)
    query = f"{name}[{comparison}]={made[2][name]}"
    assert places(await books.read(f"/ledger_transactions?{query}"), made) == BY_TIME[comparison]


@pytest.mark.parametrize("comparison", BY_TIME)
async def test_accounts_and_ledgers_are_compared_by_their_times(books: Books, comparison: str) -> None:
    ledgers = [await books.ledger() for _ in range(4)]
    accounts = [await books.account(ledgers[0]) for _ in range(4)]
    for kind, made, name in (
        ("ledgers", ledgers, "updated_at"),
        ("ledger_accounts", accounts, "updated_at"),
        ("ledger_accounts", accounts, "created_at"),
    ):
        found = await books.read(f"/{kind}?{name}[{comparison}]={made[2][name]}")
        assert places(found, made) == BY_TIME[comparison]


async def test_two_bounds_of_one_field_make_a_window(books: Books) -> None:
    made, _ = await at_four_times(books)
    query = f"effective_at[gte]={TIMES[1]}&effective_at[lt]={TIMES[3]}"
    assert places(await books.read(f"/ledger_transactions?{query}"), made) == {1, 2}


async def test_updated_at_of_an_entry_is_that_of_its_metadata_or_its_end(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    held = await books.transfer(cash, wallet, status="pending")
    posted = await books.transfer(cash, wallet)
    since = posted["created_at"]
    first, second = held["ledger_entries"]
    await books.patch(f"/ledger_entries/{first['id']}", {"metadata": {"a": "b"}})
    found = await books.read(f"/ledger_entries?updated_at[gt]={since}")
    assert ids(found) == [first["id"]]
    changed = (await books.patch(f"/ledger_transactions/{held['id']}", {"status": "archived"})).json()
    query = f"updated_at[eq]={changed['updated_at']}&show_deleted=true"
    assert set(ids(await books.read(f"/ledger_entries?{query}"))) == {first["id"], second["id"]}


async def test_each_filter_of_transactions_lets_through_what_it_names(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    bank = await books.account(await books.read(f"/ledgers/{cash['ledger_id']}"))
    fields: Json = {
        "external_id": "e",
        "ledgerable_type": "payment_order",
        "ledgerable_id": "p",
        "metadata": {"k": "v w"},
    }
    one = await books.transfer(cash, wallet, **fields)
    two = await books.transfer(bank, wallet, 200, "pending")
    three = await books.transfer(bank, wallet, status="archived")
    far_cash, far_wallet = await books.cash_and_wallet()
    far = await books.transfer(far_cash, far_wallet)
    reversal = (await books.post(f"/ledger_transactions/{one['id']}/reversal", {})).json()
    ledger = cash["ledger_id"]
    for query, expected in (
        (f"id[]={one['id']}", [one]),
        (f"id={one['id']}", [one]),
        (f"id[]={one['id']}&id[]={far['id']}&id[]={one['id'].upper()}", [far, one]),
        (f"id[]={one['id']}&ledger_id={far_cash['ledger_id']}", []),
        (f"ledger_id={ledger}", [reversal, three, two, one]),
        (f"ledger_id={far_cash['ledger_id']}", [far]),
        (f"ledger_account_id={bank['id']}", [three, two]),
        (f"ledger_account_id={bank['id']}&ledger_id={ledger}&status=archived", [three]),
        (f"ledger_account_id={bank['id']}&ledger_id={far_cash['ledger_id']}", []),
        ("external_id=e", [one]),
        ("external_id=E", []),
        ("ledgerable_type=payment_order", [one]),
        ("ledgerable_id=p", [one]),
        (f"reverses_ledger_transaction_id={one['id']}", [reversal]),
        ("status=pending", [two]),
        ("status[]=pending&status[]=archived", [three, two]),
        ("status=pending&status=archived", [three, two]),
        ("metadata[k]=v+w", [one]),
        ("metadata%5Bk%5D=v%20w", [one]),
        ("amount[gte]=150", [two]),
        (f"status=posted&ledger_id={ledger}", [reversal, one]),
        ("id[]=00000000-0000-4000-8000-000000000000", []),
        (f"id[]={cash['id']}", []),
        (f"ledger_account_id={one['id']}", []),
    ):
        found = await books.read(f"/ledger_transactions?{query}")
        assert ids(found) == ids(expected), query


async def test_a_transaction_is_found_by_the_accounts_of_its_entries_in_force(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    bank = await books.account(await books.read(f"/ledgers/{cash['ledger_id']}"))
    held = await books.transfer(cash, wallet, 100, "pending")
    await books.patch(f"/ledger_transactions/{held['id']}", {"ledger_entries": pair(bank, wallet, 70)})
    assert await books.read(f"/ledger_transactions?ledger_account_id={cash['id']}") == []
    assert ids(await books.read(f"/ledger_transactions?ledger_account_id={bank['id']}")) == [held["id"]]
    assert ids(await books.read("/ledger_transactions?amount[eq]=70")) == [held["id"]]


async def test_each_filter_of_accounts_lets_through_what_it_names(books: Books) -> None:
    ledger, far_ledger = await books.ledger(), await books.ledger()
    one = await books.account(ledger, "debit", name="one", external_id="e", metadata={"k": "v"})
    two = await books.account(ledger, "credit", name="two", currency="USD")
    far = await books.account(far_ledger, "credit", name="far", currency="PTS", currency_exponent=0)
    for query, expected in (
        (f"id[]={one['id']}&id[]={far['id']}", [far, one]),
        ("name[]=one&name[]=far", [far, one]),
        ("name=two", [two]),
        ("name[]=on", []),
        (f"ledger_id={ledger['id']}", [two, one]),
        ("external_id=e", [one]),
        ("currency=USD", [two]),
        ("currency=PTS", [far]),
        ("normal_balance=credit", [far, two]),
        ("metadata[k]=v", [one]),
        ("metadata[k]=w", []),
        ("discarded=true", []),
        ("discarded=false", [far, two, one]),
        (f"currency=PHP&ledger_id={far_ledger['id']}", []),
    ):
        assert await books.read(f"/ledger_accounts?{query}") == expected, query


async def test_each_filter_of_ledgers_lets_through_what_it_names(books: Books) -> None:
    one, two = await books.ledger(metadata={"k": "v"}), await books.ledger()
    for query, expected in (
        ("", [two, one]),
        (f"id[]={one['id']}&id[]={two['id']}", [two, one]),
        (f"id={one['id']}", [one]),
        ("metadata[k]=v", [one]),
        ("discarded=false", [two, one]),
        ("discarded=true", []),
        (f"id[]={two['id']}&metadata[k]=v", []),
        # The same ledger and record, but another second: no ledger has this id.
        (f"id[]=00000001{one['id'][8:]}", []),
    ):
        assert await books.read(f"/ledgers?{query}") == expected, query


async def test_each_filter_of_entries_lets_through_what_it_names(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    legs = [entry(cash, "debit", 5, metadata={"k": "v", "l": "m"}), entry(wallet, "credit", 5, metadata={"k": "v"})]
    one = (await books.post("/ledger_transactions", {"ledger_entries": legs, "status": "posted"})).json()
    two = await books.transfer(cash, wallet, 70, "pending")
    three = await books.transfer(cash, wallet, 9, "archived")
    debit, credit = one["ledger_entries"]
    for query, expected in (
        (f"id[]={debit['id']}", [debit]),
        (f"id[]={debit['id']}&id[]={credit['id']}", [credit, debit]),
        (f"ledger_account_id={cash['id']}&status=posted", [debit]),
        (f"ledger_transaction_id={one['id']}", [credit, debit]),
        (f"ledger_transaction_id={two['id']}&direction=debit", [two["ledger_entries"][0]]),
        ("status[]=pending&status[]=archived&direction=credit", [three["ledger_entries"][1], two["ledger_entries"][1]]),
        ("amount[lt]=9", [credit, debit]),
        ("metadata[k]=v", [credit, debit]),
        ("metadata[k]=v&metadata[l]=m", [debit]),
        ("metadata[k]=v&metadata[l]=n", []),
        (f"ledger_account_id={cash['id']}&ledger_account_lock_version[eq]=2", [two["ledger_entries"][0]]),
        (f"ledger_account_id={cash['id']}&ledger_account_lock_version[lte]=1", [debit]),
        (f"id[]={one['id']}", []),
    ):
        assert await books.read(f"/ledger_entries?{query}") == expected, query


async def test_entries_as_of_a_lock_version_are_those_that_were_there(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    one = await books.transfer(cash, wallet, 100, "pending")
    two = await books.transfer(cash, wallet, 20)
    rewritten = (
        await books.patch(f"/ledger_transactions/{one['id']}", {"ledger_entries": pair(cash, wallet, 60)})
    ).json()
    await books.patch(f"/ledger_transactions/{one['id']}", {"status": "archived"})
    first, second, third = (made["ledger_entries"][1]["id"] for made in (one, two, rewritten))
    there = {0: set(), 1: {first}, 2: {first, second}, 3: {second, third}, 4: {second}}
    for version, expected in there.items():
        query = f"ledger_account_id={wallet['id']}&as_of_lock_version={version}"
        found = await books.read(f"/ledger_entries?{query}")
        assert set(ids(found)) == expected, version
    query = f"ledger_account_id={wallet['id']}&ledger_account_lock_version[eq]=1"
    assert await books.read(f"/ledger_entries?{query}") == []
    assert ids(await books.read(f"/ledger_entries?{query}&show_deleted=true")) == [first]


@pytest.mark.parametrize(
    ("queried", "matches"),
    [
        ({"Type": "Loan x"}, True),
        ({"Type": "Loan x", "é & = [x]": "100% \u2028 \U0001f600"}, True),
        ({"Type": "loan x"}, False),
        ({"Type": "Loan"}, False),
        ({"Type": "Loan x", "absent": "1"}, False),
        ({"absent": ""}, False),
    ],
)
async def test_metadata_is_matched_exactly_and_every_pair_must_match(
    books: Books, queried: dict[str, str], matches: bool
) -> None:
    metadata = {"Type": "Loan x", "é & = [x]": "100% \u2028 \U0001f600"}
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet, metadata=metadata)
    await books.transfer(cash, wallet, metadata={"Type": "other"})
    assert made["metadata"] == metadata
    params: dict[str, Any] = {f"metadata[{key}]": value for key, value in queried.items()}
    answer = await books.client.get("/api/ledger_transactions", params=params)
    assert ids(answer) == ([made["id"]] if matches else [])


async def test_a_time_that_was_written_is_answered_in_utc_to_the_microsecond(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    for written, answered in (
        ("2024-03-31T23:59:59.123456+02:00", "2024-03-31T21:59:59.123456Z"),
        ("2024-02-29 00:00:00", "2024-02-29T00:00:00Z"),
        ("0001-01-01T00:00:00.000001Z", "0001-01-01T00:00:00.000001Z"),
        ("9999-12-31T23:59:59.999998Z", "9999-12-31T23:59:59.999998Z"),
    ):
        made = await books.transfer(cash, wallet, effective_at=written)
        assert made["effective_at"] == answered
        assert made["effective_date"] == answered[:10]
        assert (await books.read(f"/ledger_transactions/{made['id']}"))["effective_at"] == answered


async def test_an_effective_date_means_its_first_moment(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet, effective_date="2024-02-29")
    assert (made["effective_at"], made["effective_date"]) == ("2024-02-29T00:00:00Z", "2024-02-29")


async def test_without_a_time_a_transaction_is_effective_when_it_is_recorded(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet)
    assert made["effective_at"] == made["created_at"] == made["posted_at"]
    created_at = datetime.fromisoformat(made["created_at"])
    assert created_at.utcoffset() == timedelta(0)
