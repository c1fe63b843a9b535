"""Balances over HTTP at other times than now: as of a version, as known then, over what is effective until when."""

from typing import Any
from urllib.parse import urlencode

import asyncpg
import pytest

from tests.api.over_http import Books, Json, refusal

pytestmark = pytest.mark.anyio

LARGEST = 10**36


async def posted_amount(books: Books, account: Json, **asked: Any) -> int:
    return int((await read(books, account, **asked))["balances"]["posted_balance"]["amount"])


async def read(books: Books, account: Json, **asked: Any) -> Any:
    query = urlencode({f"balances[{name}]": value for name, value in asked.items()})
    return await books.read(f"/ledger_accounts/{account['id']}?{query}")


async def three_days(books: Books) -> tuple[Json, Json]:
    """Credit 1 at the end of March, 10 at its very end, 100 at the first moment of April."""
    cash, wallet = await books.cash_and_wallet()
    for amount, at in (
        (1, "2026-03-31T12:00:00Z"),
        (10, "2026-03-31T23:59:59.999999Z"),
        (100, "2026-04-01T00:00:00Z"),
    ):
        await books.transfer(cash, wallet, amount, effective_at=at)
    return cash, wallet


@pytest.mark.parametrize(
    ("asked", "amount"),
    [
        ({"effective_at": "2026-03-31T23:59:59.999998Z"}, 1),
        ({"effective_at": "2026-03-31T23:59:59.999999Z"}, 11),
        ({"effective_at": "2026-04-01T00:00:00Z"}, 111),
        ({"effective_at": "2026-04-01 08:00:00+08:00"}, 111),
        ({"as_of_date": "2026-03-30"}, 0),
        ({"as_of_date": "2026-03-31"}, 11),
        ({"as_of_date": "2026-04-01"}, 111),
        ({"as_of_date": "9999-12-31"}, 111),
        ({"effective_at": "9999-12-31T23:59:59.999998Z"}, 111),
        ({"effective_at_upper_bound": "2026-04-01T00:00:00Z"}, 11),
        ({"effective_at_upper_bound": "2026-04-01T00:00:00.000001Z"}, 111),
        ({"effective_at_lower_bound": "2026-04-01T00:00:00Z"}, 100),
        ({"effective_at_lower_bound": "2026-03-31T23:59:59.999999Z"}, 110),
        ({"effective_at_lower_bound": "0001-01-01T00:00:01Z"}, 111),
        ({"effective_at_lower_bound": "2026-03-31T12:00:01Z", "effective_at_upper_bound": "2026-04-01T00:00:00Z"}, 10),
        ({"effective_at_lower_bound": "2026-04-01T00:00:00Z", "effective_at_upper_bound": "2026-04-01T00:00:00Z"}, 0),
    ],
    ids=str,
)
async def test_a_balance_counts_what_is_effective_in_its_time(books: Books, asked: dict[str, str], amount: int) -> None:
    cash, wallet = await three_days(books)

    assert await posted_amount(books, wallet, **asked) == amount
    assert await posted_amount(books, cash, **asked) == amount


async def test_the_bounds_are_repeated_in_the_balances(books: Books) -> None:
    _, wallet = await three_days(books)
    lower, upper = "2026-03-31T00:00:00Z", "2026-04-01T00:00:00Z"

    shown = (await read(books, wallet, effective_at_lower_bound=lower, effective_at_upper_bound=upper))["balances"]
    plain = (await read(books, wallet, effective_at=lower))["balances"]

    assert (shown["effective_at_lower_bound"], shown["effective_at_upper_bound"]) == (lower, upper)
    assert (plain["effective_at_lower_bound"], plain["effective_at_upper_bound"]) == (None, None)


async def test_all_three_balances_are_of_the_time_asked_for(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    await books.transfer(cash, wallet, LARGEST, effective_at="2026-01-01T00:00:00Z")
    await books.transfer(wallet, cash, 7, "pending", effective_at="2026-01-02T00:00:00Z")
    held = await books.transfer(wallet, cash, 5, "pending", effective_at="2026-01-02T00:00:00Z")
    await books.patch(f"/ledger_transactions/{held['id']}", {"status": "archived"})

    balances = [
        (await read(books, wallet, as_of_date=day))["balances"] for day in ("2025-12-31", "2026-01-01", "2026-01-02")
    ]

    assert [
        tuple(each[f"{name}_balance"]["amount"] for name in ("pending", "posted", "available")) for each in balances
    ] == [(0, 0, 0), (LARGEST, LARGEST, LARGEST), (LARGEST - 7, LARGEST, LARGEST - 7)]
    assert balances[2]["pending_balance"]["amount_string"] == str(LARGEST - 7)


async def test_a_balance_as_of_a_version_is_what_it_was_after_it_for_ever(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    held = await books.transfer(cash, wallet, 5, "pending")
    await books.transfer(cash, wallet, 10)
    first = [await read(books, wallet, as_of_lock_version=version) for version in range(3)]
    await books.patch(f"/ledger_transactions/{held['id']}", {"status": "archived"})
    await books.transfer(cash, wallet, 100, effective_at="2020-01-01T00:00:00Z")

    again = [await read(books, wallet, as_of_lock_version=version) for version in range(5)]

    assert first == again[:3]
    assert [each["lock_version"] for each in again] == [0, 1, 2, 3, 4]
    assert [each["balances"]["pending_balance"]["amount"] for each in again] == [0, 5, 15, 10, 110]


async def test_a_balance_as_known_at_a_time_is_the_same_for_ever(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    before = (await books.read(f"/ledger_accounts/{wallet['id']}"))["created_at"]
    noon = "2020-01-01T12:00:00Z"
    first = await books.transfer(cash, wallet, 1, effective_at=noon)
    second = await books.transfer(cash, wallet, 10)
    await books.transfer(cash, wallet, 100, effective_at=noon)

    known = [await read(books, wallet, recorded_at=one["created_at"]) for one in (first, second)]

    assert [(each["lock_version"], each["balances"]["posted_balance"]["amount"]) for each in known] == [(1, 1), (2, 11)]
    assert await posted_amount(books, wallet, recorded_at=before) == 0
    assert await posted_amount(books, wallet, recorded_at=second["created_at"], effective_at=noon) == 1
    assert await posted_amount(books, wallet, effective_at=noon) == 101
    assert await posted_amount(books, wallet, as_of_lock_version=2, effective_at_lower_bound=noon) == 11


async def test_lists_show_each_account_at_the_time_asked_for(books: Books) -> None:
    cash, wallet = await three_days(books)
    ledger = cash["ledger_id"]
    other = await books.account({"id": ledger})
    recorded_at = (await books.read(f"/ledger_accounts/{other['id']}"))["created_at"]
    await books.transfer(cash, wallet, 1000, effective_at="2026-03-31T12:00:00Z")

    def shown(rows: Any) -> list[tuple[str, int, int]]:
        return [(row["id"], row["lock_version"], row["balances"]["posted_balance"]["amount"]) for row in rows]

    now = await books.read(f"/ledger_accounts?ledger_id={ledger}&balances[as_of_date]=2026-03-31")
    then = await books.read(
        f"/ledger_accounts?ledger_id={ledger}&balances[as_of_date]=2026-03-31&balances[recorded_at]={recorded_at}"
    )
    pages = await books.pages(f"/ledger_accounts?ledger_id={ledger}&balances[as_of_date]=2026-03-31&per_page=1")

    assert shown(now) == [(other["id"], 0, 0), (wallet["id"], 4, 1011), (cash["id"], 4, 1011)]
    assert shown(then) == [(other["id"], 0, 0), (wallet["id"], 3, 11), (cash["id"], 3, 11)]
    assert [row for page in pages for row in page] == now


AT = "2026-01-01T00:00:00Z"
LATER = "2026-01-02T00:00:00Z"


@pytest.mark.parametrize(
    ("asked", "parameter"),
    [
        ({"effective_at": AT, "as_of_date": "2026-01-01"}, "as_of_date"),
        ({"effective_at": AT, "effective_at_upper_bound": AT}, "effective_at_upper_bound"),
        ({"as_of_date": "2026-01-01", "effective_at_upper_bound": AT}, "effective_at_upper_bound"),
        ({"effective_at": LATER, "effective_at_lower_bound": AT}, "effective_at"),
        ({"as_of_date": "2026-01-01", "effective_at_lower_bound": AT}, "as_of_date"),
        ({"effective_at_lower_bound": LATER, "effective_at_upper_bound": AT}, "effective_at_lower_bound"),
        ({"recorded_at": AT, "as_of_lock_version": 0}, "recorded_at"),
        ({"recorded_at": "9000-01-01T00:00:00Z"}, "recorded_at"),
        ({"as_of_lock_version": 4}, "as_of_lock_version"),
        ({"as_of_lock_version": 2**63}, "as_of_lock_version"),
        ({"as_of_lock_version": -1}, "as_of_lock_version"),
        ({"as_of_date": "yesterday"}, "as_of_date"),
        ({"effective_at": "noon"}, "effective_at"),
        ({"at": AT}, "at"),
    ],
    ids=str,
)
async def test_what_contradicts_itself_or_is_no_time_is_refused(
    books: Books, asked: dict[str, Any], parameter: str
) -> None:
    _, wallet = await three_days(books)
    query = urlencode({f"balances[{name}]": value for name, value in asked.items()})

    answer = await books.get(f"/ledger_accounts/{wallet['id']}?{query}")

    assert refusal(answer) == (422, "parameter_invalid", f"balances[{parameter}]")


async def test_a_form_that_is_given_twice_and_one_that_lists_do_not_have_are_refused(books: Books) -> None:
    _, wallet = await books.cash_and_wallet()
    twice = f"balances[effective_at]={AT}&balances[effective_at]={LATER}"

    assert refusal(await books.get(f"/ledger_accounts/{wallet['id']}?{twice}"))[1:] == ("parameter_invalid", "balances")
    assert refusal(await books.get("/ledger_accounts?balances[as_of_lock_version]=1"))[1] == "parameter_invalid"


async def test_an_account_recomputes_its_balances_from_its_entries(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    await books.transfer(cash, wallet, LARGEST)
    held = await books.transfer(wallet, cash, 5, "pending")
    await books.transfer(wallet, cash, 3, "pending")
    await books.patch(f"/ledger_transactions/{held['id']}", {"status": "archived"})

    found = await books.read(f"/ledger_accounts/{wallet['id']}?verify=true")

    assert found["verified"] == {"holds": True, "recomputed": found["balances"]}
    assert "verified" not in await books.read(f"/ledger_accounts/{wallet['id']}?verify=false")
    assert "verified" not in await books.read(f"/ledger_accounts/{wallet['id']}")


@pytest.mark.parametrize("change", ["pending_debits = pending_debits + 1", "lock_version = lock_version + 1"])
async def test_a_balance_that_does_not_follow_from_the_entries_is_told(
    books: Books, superuser: asyncpg.Connection, change: str
) -> None:
    cash, wallet = await books.cash_and_wallet()
    await books.transfer(cash, wallet, 5)
    honest = (await books.read(f"/ledger_accounts/{wallet['id']}"))["balances"]
    await superuser.execute("set session_replication_role = replica")
    await superuser.execute(f"update balances set {change} where posted_credits = 5")

    found = await books.read(f"/ledger_accounts/{wallet['id']}?verify=true")

    assert found["verified"] == {"holds": False, "recomputed": honest}


async def test_accounts_are_found_by_their_balances(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    other = await books.account({"id": cash["ledger_id"]}, "credit")
    await books.transfer(cash, wallet, LARGEST)
    await books.transfer(wallet, other, 5, "pending")
    names = {cash["id"]: "cash", wallet["id"]: "wallet", other["id"]: "other"}

    async def found(**filters: int) -> list[str]:
        query = urlencode({name.replace("__", "[") + "]": value for name, value in filters.items()})
        rows = await books.read(f"/ledger_accounts?ledger_id={cash['ledger_id']}&{query}")
        return [names[row["id"]] for row in rows]

    assert await found(posted_balance_amount__eq=LARGEST) == ["wallet", "cash"]
    assert await found(pending_balance_amount__eq=LARGEST - 5) == ["wallet"]
    assert await found(pending_balance_amount__lte=5) == ["other"]
    assert await found(available_balance_amount__eq=LARGEST - 5) == ["wallet"]
    assert await found(available_balance_amount__eq=LARGEST) == ["cash"]
    assert await found(available_balance_amount__gte=LARGEST - 5) == ["wallet", "cash"]
    assert await found(available_balance_amount__lt=LARGEST) == ["other", "wallet"]
    assert await found(available_balance_amount__not_eq=LARGEST) == ["other", "wallet"]
    assert await found(posted_balance_amount__gt=0, available_balance_amount__lte=5) == []
    assert await found(pending_balance_amount__gt=-(10**45), pending_balance_amount__lt=10**45) == [
        "other", "wallet", "cash",
    ]  # fmt: skip
