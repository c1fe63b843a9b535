"""Events: everything that happens in a ledger, once, in order, with the object as it was then."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.api.over_http import Books, Json, Refusal, ids, pair, refusal

pytestmark = pytest.mark.anyio


def without_balances(answer: Json) -> Json:
    """Return what events say of an account or a category that was answered so."""
    unit = answer["balances"]["posted_balance"]
    told = {name: value for name, value in answer.items() if name not in {"balances", "lock_version"}}
    return {**told, "currency": unit["currency"], "currency_exponent": unit["currency_exponent"]}


@dataclass
class Story:
    """Writes to one organization, and what events they are expected to make, the oldest first."""

    books: Books
    expected: list[tuple[str, str, Json]] = field(default_factory=list)

    async def send(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self.books.client.request(method, f"/api{path}", json=body)
        assert answer.status_code in {200, 201}, answer.text
        return answer.json() if answer.content else None

    def expect(self, event_name: str, object_: Json) -> Json:
        told = without_balances(object_) if "balances" in object_ else object_
        self.expected.append((object_["object"], event_name, told))
        return object_

    async def does(self, event_name: str, method: str, path: str, body: Any = None) -> Json:
        """Write what makes one event, about what is answered."""
        return self.expect(event_name, await self.send(method, path, body))

    async def read(self, path: str) -> Json:
        found: Json = await self.books.read(path)
        return found


async def told_in_full(books: Books, amount: int = 100) -> Story:
    """Let everything happen in one ledger that there is an event for."""
    story = Story(books)
    ledger = await story.does("created", "POST", "/ledgers", {"name": "books", "metadata": {"z": "1", "a": "2"}})
    await story.does("updated", "PATCH", f"/ledgers/{ledger['id']}", {"description": "all of them"})
    cash, wallet = await accounts_and_categories(story, ledger)
    transaction = await monitors(story, cash, wallet, amount)
    await transactions(story, cash, wallet, amount)
    entry_id = transaction["ledger_entries"][1]["id"]
    await story.does("updated", "PATCH", f"/ledger_entries/{entry_id}", {"metadata": {"receipt": "A-17", "a": "b"}})
    bounds = {"effective_at_lower_bound": "2020-01-01T00:00:00Z", "effective_at_upper_bound": "2100-01-01T00:00:00Z"}
    body = {"ledger_account_id": wallet["id"], **bounds, "metadata": {"k": "v"}}
    await story.does("created", "POST", "/ledger_account_statements", body)
    await settlements(story, cash, wallet, transaction)
    await story.does("discarded", "DELETE", f"/ledgers/{ledger['id']}")
    return story


async def accounts_and_categories(story: Story, ledger: Json) -> tuple[Json, Json]:
    of_ledger = {"ledger_id": ledger["id"], "currency": "PHP"}
    chart, each = "/ledger_account_categories", {"name": "c", "normal_balance": "credit", **of_ledger}
    upper = await story.does("created", "POST", chart, {**each, "external_id": "upper", "metadata": {"k": "v"}})
    lower = await story.does("created", "POST", chart, {**each, "ledger_account_category_ids": [upper["id"]]})
    story.expect("updated", lower)
    account = {"name": "a", "normal_balance": "credit", **of_ledger}
    cash = await story.does("created", "POST", "/ledger_accounts", {**account, "normal_balance": "debit"})
    wallet = await story.does("created", "POST", "/ledger_accounts", {**account, "external_id": "wallet"})
    body = {**account, "ledger_account_category_ids": [lower["id"], upper["id"]]}
    brief = await story.does("created", "POST", "/ledger_accounts", body)
    story.expect("updated", brief)
    await story.send("PUT", f"{chart}/{upper['id']}/ledger_accounts/{wallet['id']}")
    story.expect("updated", upper)
    renamed = await story.does("updated", "PATCH", f"{chart}/{upper['id']}", {"name": "renamed"})
    await story.send("PUT", f"{chart}/{upper['id']}/ledger_accounts/{cash['id']}")
    await story.send("DELETE", f"{chart}/{upper['id']}/ledger_accounts/{wallet['id']}")
    await story.send("DELETE", f"{chart}/{upper['id']}/ledger_account_categories/{lower['id']}")
    story.expect("updated", renamed)
    story.expect("updated", renamed)
    story.expect("updated", lower)
    # That something is where it is already is no event.
    await story.send("PUT", f"{chart}/{upper['id']}/ledger_accounts/{cash['id']}")
    await story.does("discarded", "DELETE", f"{chart}/{lower['id']}")
    await story.does("updated", "PATCH", f"/ledger_accounts/{brief['id']}", {"metadata": {"k": "v"}})
    await story.does("discarded", "DELETE", f"/ledger_accounts/{brief['id']}")
    return cash, wallet


async def monitors(story: Story, cash: Json, wallet: Json, amount: int) -> Json:
    condition = {"field": "available_balance_amount", "operator": "greater_than_or_equals", "value": amount}
    body = {"ledger_account_id": wallet["id"], "alert_condition": condition, "metadata": {"k": "v"}}
    monitor = await story.does("created", "POST", "/ledger_account_balance_monitors", body)
    path = f"/ledger_account_balance_monitors/{monitor['id']}"
    body = {"status": "posted", "ledger_entries": pair(cash, wallet, amount)}
    posted = await story.does("created", "POST", "/ledger_transactions", body)
    story.expect("triggered", await story.read(path))
    await story.does("created", "POST", "/ledger_transactions", body)
    await story.does("updated", "PATCH", path, {"description": "enough"})
    await story.does("created", "POST", f"/ledger_transactions/{posted['id']}/reversal", {})
    body = {"status": "pending", "ledger_entries": pair(wallet, cash, 1)}
    hold = await story.does("created", "POST", "/ledger_transactions", body)
    story.expect("resolved", await story.read(path))
    await story.does("archived", "PATCH", f"/ledger_transactions/{hold['id']}", {"status": "archived"})
    story.expect("triggered", await story.read(path))
    await story.does("discarded", "DELETE", path)
    return posted


async def transactions(story: Story, cash: Json, wallet: Json, amount: int) -> None:
    body = {"ledger_entries": pair(cash, wallet, amount), "external_id": "e", "metadata": {"k": "v"}}
    hold = await story.does("created", "POST", "/ledger_transactions", {**body, "status": "pending"})
    path = f"/ledger_transactions/{hold['id']}"
    await story.does("updated", "PATCH", path, {"metadata": {"k": "w"}})
    await story.does("updated", "PATCH", path, {"ledger_entries": pair(cash, wallet, amount)})
    body = {"posted_ledger_entries": pair(cash, wallet, 1)}
    part = await story.send("POST", f"{path}/partial_post", body)
    story.expect("updated", await story.read(path))
    story.expect("created", part)
    await story.does("posted", "PATCH", path, {"status": "posted"})
    await story.does("updated", "PATCH", path, {"metadata": {"k": None}})


async def settlements(story: Story, cash: Json, wallet: Json, transaction: Json) -> None:
    of_accounts = {"settled_ledger_account_id": wallet["id"], "contra_ledger_account_id": cash["id"]}
    root = "/ledger_account_settlements"
    draft = await story.does("created", "POST", root, {**of_accounts, "status": "drafting"})
    path = f"{root}/{draft['id']}"
    picked = {"ledger_entry_ids": [transaction["ledger_entries"][1]["id"]]}
    for method in ("PATCH", "DELETE", "PATCH"):
        await story.send(method, f"{path}/ledger_entries", picked)
        story.expect("updated", await story.read(path))
    posted = await story.send("PATCH", path, {"status": "posted"})
    story.expect("created", await story.read(f"/ledger_transactions/{posted['ledger_transaction_id']}"))
    story.expect("posted", posted)
    swept = await story.send("POST", root, {**of_accounts, "allow_either_direction": True})
    on_the_way = {
        "status": "processing", "amount": None, "amount_string": None, "settlement_entry_direction": None,
        "ledger_transaction_id": None,
    }  # fmt: skip
    story.expect("created", {**swept, **on_the_way})
    story.expect("updated", {**swept, **on_the_way})
    story.expect("created", await story.read(f"/ledger_transactions/{swept['ledger_transaction_id']}"))
    story.expect("finish_processing", swept)
    path = f"{root}/{swept['id']}"
    await story.does("updated", "PATCH", path, {"description": "swept"})
    archived = await story.send("PATCH", path, {"status": "archived"})
    story.expect("archived", await story.read(f"/ledger_transactions/{swept['ledger_transaction_id']}"))
    story.expect("finish_archiving", archived)


def told(event: Json) -> tuple[str, str, Json]:
    return event["resource"], event["event_name"], event["data"]


async def all_events(books: Books, query: str = "") -> list[Json]:
    return [event for page in await books.pages(f"/events?per_page=100{query}") for event in page]


@pytest.mark.parametrize("amount", [100, 10**36])
async def test_each_change_is_one_event_with_what_was_answered_then(books: Books, amount: int) -> None:
    story = await told_in_full(books, amount)

    events = await all_events(books)

    assert [told(event) for event in events] == story.expected[::-1]
    for event in events:
        assert event["object"] == "event"
        assert event["entity_id"] == event["data"]["id"]
        assert event["created_at"] == event["updated_at"] == event["event_time"]
        assert event["live_mode"] is True
        assert await books.read(f"/events/{event['id']}") == event
        assert await books.read(f"/events/{event['id'].upper()}") == event
    assert ids(events) == sorted(ids(events), reverse=True)
    assert len(set(ids(events))) == len(events)
    # One record of the log, one event.
    async with books.service.engine.database.connection() as connection:
        records = await connection.fetchval(
            "select max(sequence) from ledger_heads h join ledgers l using (ledger_id) where l.organization_id = $1",
            books.organization_id,
        )
    assert len(events) == records


async def test_an_event_shows_the_object_as_it_was_however_it_changed_since(books: Books) -> None:
    ledger = await books.ledger(name="first")
    account = await books.account(ledger, name="first", external_id="e")
    other = await books.account(ledger, "credit")
    transaction = await books.transfer(account, other, status="pending", metadata={"n": "1"})
    entry = transaction["ledger_entries"][0]
    annotated = (await books.patch(f"/ledger_entries/{entry['id']}", {"metadata": {"n": "1"}})).json()
    events = await all_events(books)
    for path, change in (
        (f"/ledger_entries/{entry['id']}", {"metadata": {"n": "2"}}),
        (f"/ledger_transactions/{transaction['id']}", {"status": "archived", "metadata": {"n": "2"}}),
        (f"/ledger_accounts/{account['id']}", {"name": "second", "external_id": None}),
        (f"/ledgers/{ledger['id']}", {"name": "second"}),
    ):
        assert (await books.patch(path, change)).status_code == 200
    for path in (f"/ledger_accounts/{account['id']}", f"/ledgers/{ledger['id']}"):
        assert (await books.delete(path)).status_code == 200

    assert (await all_events(books))[-len(events) :] == events
    assert events[0]["data"] == annotated
    assert events[1]["data"] == transaction


async def test_events_are_found_by_what_and_by_whom_they_are_about(books: Books) -> None:
    story = await told_in_full(books)
    events = await all_events(books)
    resources = {event["resource"] for event in events}
    names = {event["event_name"] for event in events}
    entities = {event["entity_id"] for event in events}
    assert len(resources) == 8
    assert len(names) == 9
    for resource in resources:
        of_resource = [event for event in events if event["resource"] == resource]
        assert await all_events(books, f"&resource={resource}") == of_resource
        for name in names:
            expected = [event for event in of_resource if event["event_name"] == name]
            assert await all_events(books, f"&resource={resource}&event_name={name}") == expected
        for entity in entities:
            expected = [event for event in of_resource if event["entity_id"] == entity]
            assert await all_events(books, f"&resource={resource}&entity_id={entity}") == expected
    for name in names:
        assert await all_events(books, f"&event_name={name}") == [e for e in events if e["event_name"] == name]
    for entity in entities:
        of_entity = [event for event in events if event["entity_id"] == entity]
        assert await all_events(books, f"&entity_id={entity.upper()}") == of_entity
        expected = [event for event in of_entity if event["event_name"] == "updated"]
        assert await all_events(books, f"&entity_id={entity}&event_name=updated") == expected
    ledger = story.expected[0][2]["id"]
    assert await all_events(books, f"&ledger_id={ledger}") == events
    assert await all_events(books, f"&ledger_id={(await books.ledger())['id']}&resource=ledger_account") == []


async def test_events_are_found_by_time_with_both_ends_and_by_id(books: Books) -> None:
    await told_in_full(books)
    events = await all_events(books)
    for one, other in ((events[-3], events[5]), (events[20], events[20]), (events[3], events[9])):
        since, until = one["event_time"], other["event_time"]
        expected = [event for event in events if since <= event["event_time"] <= until]
        assert await all_events(books, f"&event_time_start={since}&event_time_end={until}") == expected
        for name in ("resource", "event_name", "entity_id"):
            query, alike = f"&{name}={other[name]}", [event for event in events if event[name] == other[name]]
            found = await all_events(books, f"{query}&event_time_start={since}")
            assert found == [event for event in alike if event["event_time"] >= since]
            found = await all_events(books, f"{query}&event_time_end={until}")
            assert found == [event for event in alike if event["event_time"] <= until]
    some = [events[0], events[10], events[-1]]
    query = "".join(f"&id[]={event['id']}" for event in some)
    assert await all_events(books, query) == some
    assert await all_events(books, f"{query}&resource=ledger") == [events[0], events[-1]]
    assert await all_events(books, f"{query}&entity_id={events[10]['entity_id']}") == [events[10]]
    later = datetime.fromisoformat(events[0]["event_time"]) + timedelta(microseconds=1)
    assert await all_events(books, f"&event_time_start={later.isoformat().replace('+', '%2B')}") == []
    # Nobody's ids: of the object itself, and of an event at another time.
    moved = f"{int(events[0]['id'][:8], 16) + 1:08x}{events[0]['id'][8:]}"
    for id_ in (events[0]["entity_id"], moved):
        assert await all_events(books, f"&id[]={id_}") == []
        assert refusal(await books.get(f"/events/{id_}")) == Refusal(404, "object_not_found", None)


async def test_events_of_two_entries_of_one_record_are_told_apart(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    transaction = await books.transfer(cash, wallet)
    first, second = ids(transaction["ledger_entries"])
    for number in range(3):
        for entry in (first, second) if number else (first,):
            await books.patch(f"/ledger_entries/{entry}", {"metadata": {"n": str(number)}})

    for entry, numbers in ((first, ["2", "1", "0"]), (second, ["2", "1"])):
        found = await all_events(books, f"&entity_id={entry}")
        assert [event["data"]["metadata"]["n"] for event in found] == numbers
        assert {event["entity_id"] for event in found} == {entry}
        pages = await books.pages(f"/events?entity_id={entry}&per_page=1")
        assert [event for page in pages for event in page] == found
    of_transaction = await all_events(books, f"&entity_id={transaction['id']}")
    assert [event["event_name"] for event in of_transaction] == ["created"]


async def test_events_over_several_ledgers_are_paged_newest_first(books: Books) -> None:
    pairs = [await books.cash_and_wallet() for _ in range(3)]
    await asyncio.gather(*(books.transfer(*pairs[number % 3]) for number in range(15)))
    for number in range(6):
        await books.patch(f"/ledger_accounts/{pairs[number % 3][0]['id']}", {"name": str(number)})
    for query in ("", "&resource=ledger_transaction", "&event_name=created", "&event_time_start=2020-01-01T00:00:00Z"):
        expected = await all_events(books, query)
        assert [event["event_time"] for event in expected] == sorted(
            (event["event_time"] for event in expected), reverse=True
        )
        for per_page in (1, 4, 7):
            pages = await books.pages(f"/events?per_page={per_page}{query}")
            assert [event for page in pages for event in page] == expected
    assert len(await all_events(books)) == 3 + 6 + 15 + 6


@pytest.mark.parametrize("query", ["", "&resource=ledger_transaction", "&event_name=updated", "&entity_id={}"])
async def test_paging_while_writes_go_on_returns_each_event_once(books: Books, query: str) -> None:
    cash, wallet = await books.cash_and_wallet()
    transactions_ = [await books.transfer(cash, wallet) for _ in range(4)]
    path = f"/ledger_transactions/{transactions_[0]['id']}"
    for number in range(4):
        await books.patch(path, {"metadata": {"n": str(number)}})
    query = f"&ledger_id={cash['ledger_id']}{query.format(transactions_[0]['id'])}"
    expected = ids(await all_events(books, query))
    stop = asyncio.Event()

    async def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            await books.transfer(cash, wallet)
            await books.patch(path, {"metadata": {"n": str(-number)}})

    writing = asyncio.create_task(write())
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        after = f"&after_cursor={cursor}" if cursor else ""
        answer = await books.get(f"/events?per_page=1{query}{after}")
        assert answer.status_code == 200
        found += ids(answer)
        cursor = answer.headers.get("X-After-Cursor")
        await asyncio.sleep(0)
    stop.set()
    await writing
    assert len(found) == len(set(found))
    assert [one for one in found if one in expected] == expected


async def test_whoever_asks_from_the_last_time_seen_on_misses_nothing_and_knows_what_comes_twice(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            await asyncio.gather(*(books.transfer(cash, wallet) for _ in range(5)))

    writing = asyncio.create_task(write())
    seen: list[str] = []
    last = "2020-01-01T00:00:00Z"
    for _ in range(20):
        query = f"&ledger_id={cash['ledger_id']}&event_time_start={last}"
        fresh = [event for event in await all_events(books, query) if event["id"] not in seen[-200:]]
        seen += ids(fresh)[::-1]
        last = fresh[0]["event_time"] if fresh else last
    stop.set()
    await writing
    assert len(seen) == len(set(seen))
    assert seen == ids(await all_events(books))[::-1][: len(seen)]


async def test_events_of_anothers_are_answered_like_what_is_not_there(books: Books, others: Books) -> None:
    await told_in_full(others)
    await books.ledger()
    ours = await all_events(books)
    assert len(ours) == 1
    for theirs in await all_events(others):
        for query in (
            f"id[]={theirs['id']}",
            f"entity_id={theirs['entity_id']}",
            f"entity_id={theirs['entity_id']}&event_name={theirs['event_name']}&resource={theirs['resource']}",
            f"ledger_id={theirs['data']['id']}",
        ):
            assert await books.read(f"/events?{query}") == []
        missing = await books.get(f"/events/{theirs['id']}")
        assert refusal(missing) == Refusal(404, "object_not_found", None)
    for resource in ("ledger", "ledger_transaction"):
        assert {event["id"] for event in await all_events(books, f"&resource={resource}")} <= set(ids(ours))


async def test_the_events_of_a_purged_ledger_are_gone(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    await books.transfer(cash, wallet)
    events = await all_events(books)
    ledger = cash["ledger_id"]
    assert (await books.delete(f"/ledgers/{ledger}?purge=true&confirm={ledger}")).status_code == 200
    assert await all_events(books) == []
    assert refusal(await books.get(f"/events/{events[0]['id']}")) == Refusal(404, "object_not_found", None)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("resource=payment_order", "resource"),
        ("resource=", "resource"),
        ("resource=ledger&resource=ledger_account", "resource"),
        ("event_name=CREATED", "event_name"),
        ("event_name=%00", "event_name"),
        ("entity_id=x", "entity_id"),
        ("entity_id=%F0%9F%98%80", "entity_id"),
        ("event_time_start=now", "event_time_start"),
        ("event_time_end=2026-13-01T00:00:00Z", "event_time_end"),
        ("event_time_end=9999-12-31T23:59:59.999999Z", "event_time_end"),
        ("event_time_start[gte]=2026-01-01T00:00:00Z", "event_time_start[gte]"),
        ("event_time[gte]=2026-01-01T00:00:00Z", "event_time[gte]"),
        ("id[]=x", "id[]"),
        ("ledger_id=x", "ledger_id"),
        ("metadata[a]=b", "metadata[a]"),
        ("per_page=101", "per_page"),
        ("after_cursor=x", "after_cursor"),
    ],
)
async def test_a_filter_that_can_not_be_is_refused(books: Books, query: str, parameter: str) -> None:
    found = refusal(await books.get(f"/events?{query}"))
    assert (found.status, found.parameter) == (422, parameter)
    assert found.code in {"parameter_invalid", "parameter_unknown", "invalid_cursor"}


@pytest.mark.parametrize("entity", ["00000000-0000-8000-8000-000000000000", "9f1c4f0e-5f3b-4a0e-9d3e-2f6f1d0c7b11"])
async def test_an_entity_that_nobody_has_has_no_events(books: Books, entity: str) -> None:
    await books.ledger()
    assert await books.read(f"/events?entity_id={entity}") == []
    assert refusal(await books.get(f"/events/{entity}")) == Refusal(404, "object_not_found", None)


async def test_the_ids_of_events_and_versions_are_no_entities(books: Books) -> None:
    await books.transfer(*await books.cash_and_wallet())
    event = (await all_events(books))[0]
    version = (await books.read("/ledger_transaction_versions"))[0]
    for id_ in (event["id"], version["id"]):
        assert await books.read(f"/events?entity_id={id_}") == []


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00.000001Z", "9999-12-31T23:59:59.999998Z"])
async def test_the_ends_of_the_calendar_are_times_like_any(books: Books, time: str) -> None:
    await books.ledger()
    is_early = time.startswith("0001")
    assert len(await books.read(f"/events?event_time_start={time}")) == int(is_early)
    assert len(await books.read(f"/events?event_time_end={time}")) == int(not is_early)
