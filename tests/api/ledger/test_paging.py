"""Pages: order, size and cursors; each row once, over several ledgers and while writes go on."""

import asyncio
import base64
from typing import Any

import msgspec
import pytest

from tests.api.over_http import Books, Json, Refusal, ids, pair, refusal

pytestmark = pytest.mark.anyio

LISTS = ("/ledgers", "/ledger_accounts", "/ledger_transactions", "/ledger_entries")


async def several_ledgers(books: Books) -> dict[str, list[Json]]:
    """Write to three ledgers by turns; return all objects by the path of their list, the oldest first."""
    made: dict[str, list[Json]] = {path: [] for path in LISTS}
    for _ in range(3):
        made["/ledgers"].append(await books.ledger())
    accounts = []
    for _ in range(2):
        for ledger in made["/ledgers"]:
            accounts.append(await books.account(ledger))
    made["/ledger_accounts"] = [await books.read(f"/ledger_accounts/{account['id']}") for account in accounts]
    for number in range(9):
        # Effective in another order than recorded, and by threes at one time.
        time = f"2024-01-0{9 - number // 3}T00:00:00Z"
        transaction = await books.transfer(accounts[number % 3], accounts[number % 3 + 3], effective_at=time)
        made["/ledger_transactions"].append(transaction)
        made["/ledger_entries"] += transaction["ledger_entries"]
    return made


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("per_page", [1, 2, 3, 9, 100])
async def test_a_list_over_several_ledgers_has_each_row_once_newest_first(
    books: Books, path: str, per_page: int
) -> None:
    made = await several_ledgers(books)
    expected = ids(made[path])[::-1]
    pages = await books.pages(f"{path}?per_page={per_page}")
    assert [row for page in pages for row in ids(page)] == expected
    assert [len(page) for page in pages[:-1]] == [per_page] * (len(pages) - 1)
    assert len(pages) == -(-len(expected) // per_page)


@pytest.mark.parametrize("path", ["/ledger_transactions", "/ledger_entries"])
@pytest.mark.parametrize("time", ["created_at", "effective_at"])
@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("one_ledger", [True, False])
async def test_a_list_is_ordered_by_the_time_asked_for_and_pages_through_equal_times(
    books: Books, path: str, time: str, direction: str, one_ledger: bool
) -> None:
    made = await several_ledgers(books)
    rows = made[path]
    query = f"{path}?order_by[{time}]={direction}&per_page=2"
    if one_ledger:
        account = made["/ledger_accounts"][0]
        query += f"&ledger_account_id={account['id']}"
        named = [row for row in made["/ledger_entries"] if row["ledger_account_id"] == account["id"]]
        wanted = set(ids(named)) | {row["ledger_transaction_id"] for row in named}
        rows = [row for row in rows if row["id"] in wanted]
    found = [row for page in await books.pages(query) for row in page]
    assert sorted(ids(found)) == sorted(ids(rows))
    times = [row[time] for row in found]
    assert times == sorted(times, reverse=direction == "desc")
    if time == "created_at" and path == "/ledger_transactions":
        assert ids(found) == (ids(rows) if direction == "asc" else ids(rows)[::-1])
    # Both directions are mirrors of each other, also among rows of one time.
    other = "desc" if direction == "asc" else "asc"
    mirror = await books.pages(query.replace(f"={direction}", f"={other}"))
    assert [row for page in mirror for row in ids(page)] == ids(found)[::-1]


async def test_the_headers_name_the_size_and_the_last_page_has_no_cursor(books: Books) -> None:
    ledger = await books.ledger()
    for _ in range(4):
        await books.account(ledger)
    first = await books.get("/ledger_accounts?per_page=2")
    last = await books.get(f"/ledger_accounts?per_page=2&after_cursor={first.headers['X-After-Cursor']}")
    assert (first.headers["X-Per-Page"], last.headers["X-Per-Page"]) == ("2", "2")
    assert "X-After-Cursor" not in last.headers
    assert len(last.json()) == 2
    unpaged = await books.get("/ledger_accounts")
    assert (unpaged.headers["X-Per-Page"], "X-After-Cursor" in unpaged.headers) == ("25", False)


async def test_an_empty_list_is_an_empty_array_without_a_cursor(books: Books) -> None:
    for path in LISTS:
        answer = await books.get(path)
        assert (answer.status_code, answer.json(), answer.headers.get("X-After-Cursor")) == (200, [], None)


@pytest.mark.parametrize("per_page", ["0", "101", "1000", "-1", "1.5", "", "ten", "٣", "+1", "9" * 5000])
async def test_a_page_has_1_to_100_rows(books: Books, per_page: str) -> None:
    for path in LISTS:
        answer = await books.client.get(f"/api{path}", params={"per_page": per_page})
        assert refusal(answer) == Refusal(422, "parameter_invalid", "per_page")


async def cursor_of(books: Books, query: str) -> str:
    cursor: str = (await books.get(query)).headers["X-After-Cursor"]
    return cursor


@pytest.mark.parametrize(
    "other",
    [
        "/ledger_transactions?per_page=1",
        "/ledger_transactions?per_page=1&status=pending",
        "/ledger_transactions?per_page=1&status=posted&amount[gt]=1",
        "/ledger_transactions?per_page=1&status=posted&order_by[created_at]=asc",
        "/ledger_entries?per_page=1&status=posted",
    ],
)
async def test_a_cursor_with_other_filters_is_refused(books: Books, other: str) -> None:
    await several_ledgers(books)
    cursor = await cursor_of(books, "/ledger_transactions?per_page=1&status=posted")
    assert refusal(await books.get(f"{other}&after_cursor={cursor}")) == Refusal(422, "invalid_cursor", "after_cursor")


async def test_a_cursor_goes_on_with_another_page_size_and_with_its_filters_in_another_order(books: Books) -> None:
    made = await several_ledgers(books)
    cursor = await cursor_of(books, "/ledger_transactions?per_page=2&status=posted&amount[gt]=1")
    rest = await books.get(f"/ledger_transactions?amount%5Bgt%5D=1&after_cursor={cursor}&status=posted&per_page=100")
    assert ids(rest) == ids(made["/ledger_transactions"])[::-1][2:]


def packed(*values: Any) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(list(values))).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "x", "!!!!", "=", "a" * 10_000, "%00", "%FF", "%ED%A0%80", "lMQI", "null", "0", "gA", packed(),
        packed(b"12345678", 0, 1), packed(b"12345678", 0, 1, 1), packed(b"12345678", 0, 1, 1, 1),
        packed(b"12345678", 2**63, 1, 1), packed(b"12345678", -(2**63), 1, 1), packed(b"12345678", 0, -1, 1),
        packed(b"12345678", 0, 1, 2**63), packed(b"12345678", 0, 2**64 - 1, 1), packed("text", 0, 1, 1),
        packed(b"", None, None, None), packed(b"12345678", 1.5, 1, 1),
    ],
)  # fmt: skip
async def test_a_cursor_that_is_none_of_ours_is_refused(books: Books, cursor: str) -> None:
    for path in LISTS:
        answer = await books.get(f"{path}?after_cursor={cursor}")
        assert refusal(answer).status == 422
        assert refusal(answer).code in {"invalid_cursor", "parameter_invalid"}


async def test_a_cursor_that_was_tampered_with_is_refused_or_pages_on_but_never_fails(books: Books) -> None:
    await several_ledgers(books)
    cursor = await cursor_of(books, "/ledger_transactions?per_page=1")
    for position in range(len(cursor)):
        for letter in "A_9":
            changed = cursor[:position] + letter + cursor[position + 1 :]
            answer = await books.get(f"/ledger_transactions?after_cursor={changed}")
            assert answer.status_code in {200, 422}, changed


@pytest.mark.parametrize("path", ["/ledger_transactions", "/ledger_entries", "/ledger_accounts"])
@pytest.mark.parametrize("order", ["", "&order_by[created_at]=asc", "&order_by[effective_at]=asc"])
@pytest.mark.parametrize("one_ledger", [True, False])
async def test_paging_while_writes_go_on_returns_each_row_once(
    books: Books, path: str, order: str, one_ledger: bool
) -> None:
    if path == "/ledger_accounts" and order:
        order = "&normal_balance=debit"
    made = await several_ledgers(books)
    accounts = made["/ledger_accounts"]
    scope = ""
    there = ids(made[path])
    if one_ledger:
        ledger = made["/ledgers"][0]["id"]
        names = {"/ledger_entries": f"&ledger_account_id={accounts[0]['id']}"}
        scope = names.get(path, f"&ledger_id={ledger}")
        there = ids((await books.get(f"{path}?per_page=100{scope}")).json())
    stop = asyncio.Event()

    async def write() -> None:
        """Keep writing to all ledgers, and annotating what is there."""
        number = 0
        while not stop.is_set():
            number += 1
            await books.transfer(accounts[number % 3], accounts[number % 3 + 3])
            await books.account({"id": accounts[number % 3]["ledger_id"]})
            old = made["/ledger_transactions"][number % 9]
            await books.patch(f"/ledger_transactions/{old['id']}", {"metadata": {"n": str(number)}})

    writing = asyncio.create_task(write())
    found: list[str] = []
    cursor: str | None = ""
    # An ascending list grows as fast as it is read: it is read until the rows of the beginning have been seen.
    while cursor is not None and not set(there) <= set(found):
        after = f"&after_cursor={cursor}" if cursor else ""
        answer = await books.get(f"{path}?per_page=2{scope}{order}{after}")
        assert answer.status_code == 200
        found += ids(answer)
        cursor = answer.headers.get("X-After-Cursor")
    stop.set()
    await writing
    assert len(found) == len(set(found))
    assert set(there) <= set(found)


async def test_rows_of_one_group_are_paged_though_they_have_one_time(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    body = {"ledger_entries": pair(cash, wallet) * 3}
    await asyncio.gather(*(books.post("/ledger_transactions", body) for _ in range(12)))
    for path, count in (("/ledger_transactions", 12), ("/ledger_entries", 72)):
        for order in ("created_at", "effective_at"):
            pages = await books.pages(f"{path}?per_page=5&order_by[{order}]=desc")
            assert len({row for page in pages for row in ids(page)}) == sum(len(page) for page in pages) == count
