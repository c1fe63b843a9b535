"""Versions of transactions: what each change made of one, as it was answered then, and for ever."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from doppia.api.ledger.transactions import EntryObject, TransactionObject
from doppia.api.ledger.versions import VersionEntryObject, VersionObject
from tests.api.over_http import Books, Json, Refusal, entry, ids, pair, refusal

pytestmark = pytest.mark.anyio

BIG = 10**36


async def written(books: Books, path: str, body: Json, method: str = "PATCH") -> Json:
    answer = await books.client.request(method, f"/api{path}", json=body)
    assert answer.status_code in {200, 201}, answer.text
    made: Json = answer.json()
    return made


async def versions_of(books: Books, transaction: Json, query: str = "") -> list[Json]:
    """Read the versions of a transaction, the newest first; both routes say the same."""
    by_path: list[Json] = await books.read(f"/ledger_transactions/{transaction['id']}/versions?per_page=100{query}")
    by_filter = await books.read(
        f"/ledger_transaction_versions?per_page=100&ledger_transaction_id={transaction['id']}{query}"
    )
    assert by_path == by_filter
    return by_path


def as_version(answer: Json, version: int) -> Json:
    """Return what a version says of a transaction that was answered so, but for its own id."""
    entries = [
        {name: value for name, value in one.items() if name not in {"updated_at", "discarded_at"}}
        for one in answer["ledger_entries"]
    ]
    shared = {name: value for name, value in answer.items() if name not in {"id", "updated_at"}}
    return {
        **shared,
        "object": "ledger_transaction_version",
        "created_at": answer["updated_at"],
        "ledger_transaction_id": answer["id"],
        "version": version,
        "ledger_entries": entries,
    }


def nameless(versions: list[Json]) -> list[Json]:
    return [{name: value for name, value in version.items() if name != "id"} for version in versions]


def test_a_version_has_the_fields_of_a_transaction() -> None:
    def names(kind: Any) -> set[str]:
        return {field.name for field in structs.fields(kind)}

    assert names(VersionObject) == names(TransactionObject) - {"updated_at"} | {"ledger_transaction_id", "version"}
    assert names(VersionEntryObject) == names(EntryObject) - {"updated_at", "discarded_at"}


async def test_each_version_says_what_was_answered_then(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    fields = {"description": "d", "external_id": "e", "ledgerable_type": "order", "ledgerable_id": "1"}
    legs = [entry(cash, "debit", 70, metadata={"z": "1", "a": "2"}), entry(wallet, "credit", 70)]
    path = "/ledger_transactions"
    body = {"status": "pending", "metadata": {"k": "v", "b": "c"}, "ledger_entries": legs, **fields}
    told = [await written(books, path, {**body, "effective_at": "2026-01-01T00:00:00Z"}, "POST")]
    path = f"/ledger_transactions/{told[0]['id']}"
    # Entries are annotated, kept, rewritten, kept again, posted, and kept for good.
    await written(books, f"/ledger_entries/{told[0]['ledger_entries'][1]['id']}", {"metadata": {"n": "1"}})
    told.append(await written(books, path, {"metadata": {"k": "w"}}))
    await written(books, f"/ledger_entries/{told[0]['ledger_entries'][1]['id']}", {"metadata": {"n": "2"}})
    told.append(await written(books, path, {"description": None}))
    told.append(await written(books, path, {"ledger_entries": pair(cash, wallet, 90)}))
    told.append(await written(books, path, {"expires_at": "2100-01-01T00:00:00Z"}))
    told.append(await written(books, path, {"effective_at": "2026-02-02T00:00:00.000001Z"}))
    told.append(await written(books, path, {"status": "posted"}))
    await written(books, f"/ledger_entries/{told[-1]['ledger_entries'][0]['id']}", {"metadata": {"n": "3"}})
    told.append(await written(books, path, {"metadata": {"after": "wards"}}))
    told.append(await written(books, path, {"external_id": "f"}))

    found = await versions_of(books, told[0])

    assert nameless(found) == [as_version(answer, number) for number, answer in enumerate(told)][::-1]
    assert len(set(ids(found))) == len(found)
    # What happens later changes none of them.
    await written(books, f"/ledger_entries/{told[-1]['ledger_entries'][0]['id']}", {"metadata": {"n": "4"}})
    await written(books, f"{path}/reversal", {}, "POST")
    assert await versions_of(books, told[0]) == found


async def test_a_version_shows_the_reversal_that_was_in_force_then(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    transaction = await books.transfer(cash, wallet)
    path = f"/ledger_transactions/{transaction['id']}"
    told = [transaction]
    first = await written(books, f"{path}/reversal", {"status": "pending"}, "POST")
    told.append(await written(books, path, {"metadata": {"n": "1"}}))
    archived = await written(books, f"/ledger_transactions/{first['id']}", {"status": "archived"})
    told.append(await written(books, path, {"metadata": {"n": "2"}}))
    second = await written(books, f"{path}/reversal", {}, "POST")
    told.append(await written(books, path, {"metadata": {"n": "3"}}))

    found = await versions_of(books, transaction)

    assert nameless(found) == [as_version(answer, number) for number, answer in enumerate(told)][::-1]
    by = [version["reversed_by_ledger_transaction_id"] for version in found]
    assert by == [second["id"], None, first["id"], None]
    assert nameless(await versions_of(books, first)) == [as_version(archived, 1), as_version(first, 0)]
    assert (await versions_of(books, second))[0]["reverses_ledger_transaction_id"] == transaction["id"]


@pytest.mark.parametrize("changes", [{}, {"metadata": {"a": "b"}}])
async def test_an_archived_version_shows_the_entries_it_had_last(books: Books, changes: Json) -> None:
    cash, wallet = await books.cash_and_wallet()
    transaction = await books.transfer(cash, wallet, status="pending")
    path = f"/ledger_transactions/{transaction['id']}"
    await written(books, f"/ledger_entries/{transaction['ledger_entries'][0]['id']}", {"metadata": {"n": "1"}})
    told = [transaction, await written(books, path, {"status": "archived", **changes})]
    told.append(await written(books, path, {"metadata": {"c": "d"}}))
    await written(books, f"/ledger_entries/{transaction['ledger_entries'][0]['id']}", {"metadata": {"n": "2"}})

    found = await versions_of(books, transaction)

    assert nameless(found) == [as_version(answer, number) for number, answer in enumerate(told)][::-1]
    assert found[0]["ledger_entries"][0]["metadata"] == {"n": "1"}


async def test_a_transaction_that_is_created_archived_has_its_version(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    transaction = await books.transfer(cash, wallet, status="archived")
    assert nameless(await versions_of(books, transaction)) == [as_version(transaction, 0)]


async def test_a_partial_post_is_a_version_of_the_hold_and_one_of_what_it_posts(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    hold = await books.transfer(cash, wallet, 100, status="pending")
    path = f"/ledger_transactions/{hold['id']}"
    part = await written(books, f"{path}/partial_post", {"posted_ledger_entries": pair(cash, wallet, 30)}, "POST")
    left = await books.read(path)

    assert nameless(await versions_of(books, hold)) == [as_version(left, 1), as_version(hold, 0)]
    assert nameless(await versions_of(books, part)) == [as_version(part, 0)]
    assert part["partially_posts_ledger_transaction_id"] == hold["id"]


async def test_amounts_of_10_to_36_are_exact_in_a_version(books: Books) -> None:
    ledger = await books.ledger()
    one, other = [await books.account(ledger, currency="WEI", currency_exponent=18) for _ in range(2)]
    transaction = await books.transfer(one, other, BIG, status="pending")
    posted = await written(books, f"/ledger_transactions/{transaction['id']}", {"status": "posted"})

    found = await versions_of(books, transaction)

    assert nameless(found) == [as_version(posted, 1), as_version(transaction, 0)]
    assert [leg["amount"] for version in found for leg in version["ledger_entries"]] == [BIG] * 4
    assert found[0]["ledger_entries"][0]["amount_string"] == str(BIG)


async def several(books: Books) -> list[Json]:
    """Make two ledgers with versions in turns; return all versions, the newest first."""
    accounts = [await books.cash_and_wallet() for _ in range(2)]
    transactions = [
        await books.transfer(*accounts[number % 2], status="pending", metadata={"n": "0"}) for number in range(4)
    ]
    for round_ in range(1, 4):
        for transaction in transactions[:-round_]:
            await written(books, f"/ledger_transactions/{transaction['id']}", {"metadata": {"n": str(round_)}})
    found: list[Json] = await books.read("/ledger_transaction_versions?per_page=100")
    assert len(found) == 4 + 3 + 2 + 1
    return found


COMPARISONS: dict[str, Any] = {
    "gt": lambda one, other: one > other,
    "gte": lambda one, other: one >= other,
    "lt": lambda one, other: one < other,
    "lte": lambda one, other: one <= other,
    "eq": lambda one, other: one == other,
}


@pytest.mark.parametrize("comparison", COMPARISONS)
async def test_versions_are_found_by_number_and_by_time(books: Books, comparison: str) -> None:
    there = await several(books)
    holds = COMPARISONS[comparison]
    for bound in range(5):
        found = await books.read(f"/ledger_transaction_versions?per_page=100&version[{comparison}]={bound}")
        assert found == [version for version in there if holds(version["version"], bound)]
    for pivot in there:
        time = pivot["created_at"]
        found = await books.read(f"/ledger_transaction_versions?per_page=100&created_at[{comparison}]={time}")
        assert found == [version for version in there if holds(version["created_at"], time)]
    transaction = {"id": there[0]["ledger_transaction_id"]}
    for bound in range(5):
        of_one = [version for version in there if version["ledger_transaction_id"] == transaction["id"]]
        found = await versions_of(books, transaction, f"&version[{comparison}]={bound}")
        assert found == [version for version in of_one if holds(version["version"], bound)]
        found = await versions_of(books, transaction, f"&created_at[{comparison}]={of_one[1]['created_at']}")
        assert found == [version for version in of_one if holds(version["created_at"], of_one[1]["created_at"])]


async def test_versions_are_found_by_id_and_by_ledger_and_filters_are_joined(books: Books) -> None:
    there = await several(books)
    some = [there[0], there[3], there[9]]
    query = "".join(f"&id[]={version['id'].upper()}" for version in some)
    assert await books.read(f"/ledger_transaction_versions?per_page=100{query}") == some
    for ledger in {version["ledger_id"] for version in there}:
        expected = [version for version in there if version["ledger_id"] == ledger]
        assert await books.read(f"/ledger_transaction_versions?per_page=100&ledger_id={ledger}") == expected
        both = f"/ledger_transaction_versions?ledger_id={ledger}&version[gt]=0&version[lte]=2{query}"
        assert await books.read(both) == [
            version for version in some if version in expected and 0 < version["version"] < 3
        ]
    one = {"id": there[0]["ledger_transaction_id"]}
    assert await versions_of(books, one, f"&id[]={there[0]['id']}&id[]={there[8]['id']}") == [there[0]]
    elsewhere = next(version for version in there if version["ledger_id"] != there[0]["ledger_id"])
    apart = f"ledger_id={there[0]['ledger_id']}&id[]={elsewhere['id']}"
    assert await books.read(f"/ledger_transaction_versions?{apart}") == []
    # The id of the transaction is none of a version, nor that of a version whose time is another.
    later = f"{int(there[0]['id'][:8], 16) + 1:08x}{there[0]['id'][8:]}"
    for other in (one["id"], later):
        assert await books.read(f"/ledger_transaction_versions?id[]={other}") == []


@pytest.mark.parametrize("per_page", [1, 2, 3, 10])
async def test_versions_over_several_ledgers_are_paged_newest_first(books: Books, per_page: int) -> None:
    there = await several(books)
    for query in ("", "&version[gte]=1", f"&ledger_id={there[0]['ledger_id']}", "&created_at[gt]=2020-01-01T00:00:00Z"):
        expected = await books.read(f"/ledger_transaction_versions?per_page=100{query}")
        pages = await books.pages(f"/ledger_transaction_versions?per_page={per_page}{query}")
        assert [version for page in pages for version in page] == expected
    path = f"/ledger_transactions/{there[0]['ledger_transaction_id']}/versions"
    pages = await books.pages(f"{path}?per_page={per_page}")
    assert [version["version"] for page in pages for version in page] == [3, 2, 1, 0]


async def test_a_cursor_of_one_transactions_versions_is_refused_for_anothers(books: Books) -> None:
    there = await several(books)
    one, other = list(dict.fromkeys(version["ledger_transaction_id"] for version in there))[:2]
    cursor = (await books.get(f"/ledger_transactions/{one}/versions?per_page=1")).headers["X-After-Cursor"]
    answer = await books.get(f"/ledger_transactions/{other}/versions?per_page=1&after_cursor={cursor}")
    assert refusal(answer) == Refusal(422, "invalid_cursor", "after_cursor")


@pytest.mark.parametrize("query", ["", "&version[gte]=0", "&version[gte]=1"])
async def test_paging_while_writes_go_on_returns_each_version_once(books: Books, query: str) -> None:
    there = await several(books)
    ledger = there[0]["ledger_id"]
    query = f"&ledger_id={ledger}{query}"
    expected = ids(await books.read(f"/ledger_transaction_versions?per_page=100{query}"))
    written_to = [version["ledger_transaction_id"] for version in there if version["ledger_id"] == ledger]
    stop = asyncio.Event()

    async def write() -> None:
        number = 100
        while not stop.is_set():
            number += 1
            path = f"/ledger_transactions/{written_to[number % len(written_to)]}"
            await written(books, path, {"metadata": {"n": str(number)}})

    writing = asyncio.create_task(write())
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        after = f"&after_cursor={cursor}" if cursor else ""
        answer = await books.get(f"/ledger_transaction_versions?per_page=1{query}{after}")
        found += ids(answer)
        cursor = answer.headers.get("X-After-Cursor")
        await asyncio.sleep(0)
    stop.set()
    await writing
    assert len(found) == len(set(found))
    assert [one for one in found if one in expected] == expected


async def statement_of(books: Books, account: Json, lower: str, upper: str) -> Json:
    body = {"ledger_account_id": account["id"], "effective_at_lower_bound": lower, "effective_at_upper_bound": upper}
    return await written(books, "/ledger_account_statements", body, "POST")


async def test_a_statement_has_the_newest_version_of_each_of_its_transactions_when_it_was_made(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()

    async def on(day: int, status: str = "posted", **fields: Any) -> Json:
        return await books.transfer(cash, wallet, day, status, effective_at=f"2026-01-{day:02}T00:00:00Z", **fields)

    before, first, second, held, given_up, ended = [
        await on(day, status)
        for day, status in (
            (1, "posted"),
            (10, "posted"),
            (11, "posted"),
            (12, "pending"),
            (13, "pending"),
            (20, "posted"),
        )
    ]
    second = await written(books, f"/ledger_transactions/{second['id']}", {"metadata": {"a": "b"}})
    held = await written(books, f"/ledger_transactions/{held['id']}", {"description": "held"})
    await written(books, f"/ledger_transactions/{given_up['id']}", {"status": "archived"})
    legs = [entry(wallet, "debit", 5), entry(wallet, "credit", 7), entry(cash, "debit", 2)]
    legs[0]["effective_at"] = legs[2]["effective_at"] = "2026-03-01T00:00:00Z"
    body = {"status": "posted", "effective_at": "2026-01-15T00:00:00Z", "ledger_entries": legs}
    twice = await written(books, "/ledger_transactions", body, "POST")
    body |= {"ledger_entries": [*pair(cash, wallet, 4), *pair(wallet, cash, 1)]}
    both = await written(books, "/ledger_transactions", body, "POST")
    back_dated = await on(14)
    statement = await statement_of(books, wallet, "2026-01-10T00:00:00Z", "2026-01-20T00:00:00Z")
    path = f"/ledger_transaction_versions?per_page=100&ledger_account_statement_id={statement['id']}"

    found = await books.read(path)

    expected = [as_version(first, 0), as_version(second, 1), as_version(held, 1), as_version(twice, 0)]
    expected += [as_version(both, 0), as_version(back_dated, 0)]
    assert nameless(found) == expected[::-1]
    assert not {before["id"], ended["id"], given_up["id"]} & {version["ledger_transaction_id"] for version in found}

    # Whatever comes later, the statement's versions stay: posted, archived, annotated, back-dated, reversed.
    await written(books, f"/ledger_transactions/{held['id']}", {"status": "posted"})
    await written(books, f"/ledger_transactions/{first['id']}", {"metadata": {"later": "on"}})
    await written(books, f"/ledger_transactions/{second['id']}/reversal", {}, "POST")
    await written(books, f"/ledger_entries/{second['ledger_entries'][0]['id']}", {"metadata": {"later": "on"}})
    await on(15)
    assert await books.read(path) == found
    for per_page in (1, 2, 4):
        pages = await books.pages(path.replace("per_page=100", f"per_page={per_page}"))
        assert [version for page in pages for version in page] == found
        assert [len(page) for page in pages[:-1]] == [per_page] * (len(pages) - 1)
    # Its filters are joined with the others.
    assert await books.read(f"{path}&version[eq]=1") == [version for version in found if version["version"] == 1]
    assert await books.read(f"{path}&ledger_transaction_id={both['id']}") == [found[1]]
    assert await books.read(f"{path}&id[]={found[2]['id']}") == [found[2]]
    times = f"&created_at[lt]={found[2]['created_at']}&created_at[gte]={found[4]['created_at']}"
    assert await books.read(f"{path}{times}") == [
        version for version in found if found[4]["created_at"] <= version["created_at"] < found[2]["created_at"]
    ]
    assert await books.read(f"{path}&ledger_id={statement['ledger_id']}") == found
    assert await books.read(f"{path}&ledger_id={(await books.ledger())['id']}") == []


async def test_a_statement_of_what_is_recorded_as_it_happens_pages_through_its_versions(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    began = datetime.now(UTC) - timedelta(seconds=1)
    transactions = [await books.transfer(cash, wallet, 1 + number) for number in range(7)]
    back_dated = await books.transfer(cash, wallet, effective_at="2026-01-01T00:00:00Z")
    late = await books.transfer(cash, wallet, effective_at=began.isoformat())
    upper = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    statement = await statement_of(books, wallet, began.isoformat(), upper)
    await books.transfer(cash, wallet)
    path = f"/ledger_transaction_versions?per_page=2&ledger_account_statement_id={statement['id']}"

    found = [version["ledger_transaction_id"] for page in await books.pages(path) for version in page]

    assert found == ids([*transactions, late])[::-1]
    assert back_dated["id"] not in found


async def test_versions_of_anothers_are_answered_like_what_is_not_there(books: Books, others: Books) -> None:
    theirs = await several(others)
    ours = await several(books)
    statement = await statement_of(
        others,
        {"id": theirs[0]["ledger_entries"][0]["ledger_account_id"]},
        "2020-01-01T00:00:00Z",
        "2100-01-01T00:00:00Z",
    )
    assert await others.read(f"/ledger_transaction_versions?ledger_account_statement_id={statement['id']}")
    for query in (
        f"ledger_transaction_id={theirs[0]['ledger_transaction_id']}",
        f"ledger_id={theirs[0]['ledger_id']}",
        f"id[]={theirs[0]['id']}",
        f"ledger_account_statement_id={statement['id']}",
        f"ledger_transaction_id={ours[0]['ledger_transaction_id']}&ledger_account_statement_id={statement['id']}",
    ):
        assert await books.read(f"/ledger_transaction_versions?{query}") == [], query
    assert await books.read("/ledger_transaction_versions?per_page=100") == ours
    later = f"{int(ours[0]['ledger_transaction_id'][:8], 16) + 1:08x}{ours[0]['ledger_transaction_id'][8:]}"
    for id_ in (theirs[0]["ledger_transaction_id"], ours[0]["ledger_id"], ours[0]["id"], later, "x", "0" * 32):
        answer = await books.get(f"/ledger_transactions/{id_}/versions")
        assert refusal(answer) == Refusal(404, "object_not_found", None), id_


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("version=1", "version"),
        ("version[eq]=-1", "version[eq]"),
        ("version[eq]=1.0", "version[eq]"),
        ("version[eq]=9223372036854775808", "version[eq]"),
        ("version[eq]=" + "9" * 5000, "version[eq]"),
        ("version[not_eq]=1", "version[not_eq]"),
        ("created_at[gte]=yesterday", "created_at[gte]"),
        ("created_at=2026-01-01T00:00:00Z", "created_at"),
        ("created_at[lt]=0001-01-01T00:00:00Z", "created_at[lt]"),
        ("id[]=x", "id[]"),
        ("updated_at[gt]=2026-01-01T00:00:00Z", "updated_at[gt]"),
        ("per_page=0", "per_page"),
    ],
)
async def test_a_filter_that_can_not_be_is_refused_on_both_routes(books: Books, query: str, parameter: str) -> None:
    transaction = await books.transfer(*await books.cash_and_wallet())
    for path in ("/ledger_transaction_versions", f"/ledger_transactions/{transaction['id']}/versions"):
        found = refusal(await books.get(f"{path}?{query}"))
        assert (found.status, found.parameter) == (422, parameter)
        assert found.code in {"parameter_invalid", "parameter_unknown"}


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00.000001Z", "9999-12-31T23:59:59.999998Z"])
@pytest.mark.parametrize("comparison", COMPARISONS)
async def test_the_ends_of_the_calendar_are_compared_like_any_time(books: Books, time: str, comparison: str) -> None:
    transaction = await books.transfer(*await books.cash_and_wallet())
    holds = COMPARISONS[comparison](transaction["created_at"], time)
    found = await books.read(f"/ledger_transaction_versions?created_at[{comparison}]={time}")
    assert len(found) == int(holds)


@pytest.mark.parametrize("bound", [0, 1, 2**63 - 1])
@pytest.mark.parametrize("comparison", COMPARISONS)
async def test_the_ends_of_the_versions_are_compared_like_any(books: Books, bound: int, comparison: str) -> None:
    await books.transfer(*await books.cash_and_wallet())
    found = await books.read(f"/ledger_transaction_versions?version[{comparison}]={bound}")
    assert len(found) == int(COMPARISONS[comparison](0, bound))


async def test_the_version_lists_take_only_the_filters_they_have(books: Books) -> None:
    transaction = await books.transfer(*await books.cash_and_wallet())
    for query in (f"ledger_id={transaction['ledger_id']}", f"ledger_transaction_id={transaction['id']}"):
        answer = await books.get(f"/ledger_transactions/{transaction['id']}/versions?{query}")
        assert refusal(answer) == Refusal(422, "parameter_unknown", query.partition("=")[0])
    assert (await books.post("/ledger_transaction_versions", {})).status_code == 405
