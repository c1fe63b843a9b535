"""Redactions: what is named is called nothing any more, anywhere, and every amount and every proof stays."""

from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from doppia.engine.verification.resume import Resumed
from doppia.engine.verification.verify import Finding, verify
from doppia.proof.tree import leaf_hash, root_of
from doppia.store.database.connections import Database
from doppia.store.log import log
from tests.api.over_http import Books, Json, Refusal, entry, ids, refusal
from tests.api.platform.bulk_books import done
from tests.api.platform.test_export_import import bring, elsewhere, elsewhere_url, exported, id_of
from tests.api.whole_books import live, tables
from tests.store.invariants import assert_invariants

pytestmark = pytest.mark.anyio

__all__ = ["elsewhere", "elsewhere_url"]

ERASED = {"redacted": "[redacted]"}


class Story:
    """A ledger with a customer who is named wherever a caller can name him, and one who stays."""

    def __init__(self, books: Books, ledger: Json) -> None:
        self.books = books
        self.ledger = ledger
        self.name = f"Zaphod {uuid4()}"  # no other ledger of the database names him
        self.customer = {"customer": "42", "called": self.name}
        self.wallet: Json = {}
        self.cash: Json = {}
        self.posted: Json = {}
        self.answers: dict[str, tuple[str, Any, Json]] = {}

    async def post(self, path: str, body: Any, *, key: str | None = None) -> Json:
        key = key or f"key {len(self.answers)}"
        answer = await self.books.post(path, body, key=key)
        assert answer.status_code in (200, 201), answer.text
        told: Json = answer.json()
        self.answers[key] = (path, body, told)
        return told

    async def redact(self, **asked: Any) -> Json:
        answer = await self.books.post(f"/ledgers/{self.ledger['id']}/redactions", asked)
        assert answer.status_code == 201, answer.text
        told: Json = answer.json()
        return told


@pytest.fixture
async def story(books: Books) -> Story:
    ledger = await live(books)
    story = Story(books, ledger)
    name, customer = story.name, story.customer
    in_ledger = {"ledger_id": ledger["id"], "currency": "PHP"}
    named = {"name": name, "description": f"account of {name}", "metadata": customer}
    chart = await story.post(
        "/ledger_account_categories", {**in_ledger, **named, "normal_balance": "credit", "external_id": f"{name}s"}
    )
    wallet = await story.post(
        "/ledger_accounts",
        {**in_ledger, **named, "normal_balance": "credit", "external_id": name, "ledgerable_type": "Person",
         "ledgerable_id": name, "ledger_account_category_ids": [chart["id"]]},
    )  # fmt: skip
    cash = await story.post("/ledger_accounts", {**in_ledger, "name": "cash", "normal_balance": "debit"})
    entries = [entry(cash, "debit", 100), entry(wallet, "credit", 100, metadata=customer)]
    shown = [{**one, "show_resulting_ledger_account_balances": True} for one in entries]
    of_him = {"description": f"for {name}", "metadata": customer}
    posted = await story.post(
        "/ledger_transactions", {"status": "posted", "ledger_entries": shown, "external_id": f"{name} 1", **of_him}
    )
    hold = await story.post("/ledger_transactions", {"ledger_entries": entries, **of_him})
    await books.patch(
        f"/ledger_transactions/{hold['id']}", {"description": f"still {name}", "ledger_entries": entries}, key="p"
    )
    await books.patch(f"/ledger_entries/{posted['ledger_entries'][0]['id']}", {"metadata": customer}, key="e")
    await story.post(
        f"/ledger_transactions/{posted['id']}/reversal", {"description": f"back to {name}", "metadata": customer}
    )
    batch = [
        {"status": "posted", "ledger_entries": entries, **of_him},
        {"status": "posted", "ledger_entries": entries, "external_id": f"{name} 1"},
    ]
    await story.post("/ledger_transactions/batch", {"ledger_transactions": batch}, key="batch")
    of_wallet = {"ledger_account_id": wallet["id"], "metadata": customer, "description": name}
    condition = {"field": "posted_balance_amount", "operator": "greater_than", "value": 10**6}
    await story.post(
        "/ledger_account_balance_monitors", {**of_wallet, "alert_condition": condition, "description": name}
    )
    bounds = {"effective_at_lower_bound": "2020-01-01T00:00:00Z", "effective_at_upper_bound": "2030-01-01T00:00:00Z"}
    await story.post("/ledger_account_statements", {**of_wallet, **bounds})
    settled = {
        "settled_ledger_account_id": wallet["id"],
        "contra_ledger_account_id": cash["id"],
        "allow_either_direction": True,
    }
    await story.post("/ledger_account_settlements", {**settled, "description": f"of {name}", "metadata": customer})
    made, failed = await done(
        books, "create", "ledger_transaction", [{"ledger_entries": entries, **of_him}, {"metadata": customer}]
    )
    assert (made["status"], failed["status"]) == ("successful", "failed")
    await books.transfer(cash, wallet, 7, description="of somebody else", metadata={"customer": "43"})
    story.wallet, story.posted, story.cash = wallet, posted, cash
    return story


async def left(connection: asyncpg.Connection, text: str) -> list[str]:
    """Return the tables of which a row still holds a text, as text or within bytes."""
    names = await connection.fetch(
        "select c.relname from pg_class c where c.relnamespace = 'doppia'::regnamespace and c.relkind = 'r'"
    )
    found = []
    for (name,) in names:
        held = await connection.fetchval(
            f"select count(*) from {name} t where t::text like '%' || $1 || '%' or t::text like '%' || $2 || '%'",
            text, text.encode().hex(),
        )  # fmt: skip
        if held:
            found.append(name)
    return found


async def findings(database: Database) -> list[str]:
    return [str(told) async for _, told in verify(database, None, {}, Resumed()) if isinstance(told, Finding)]


async def test_of_what_matches_no_copy_stays_and_all_amounts_do(
    story: Story, superuser: asyncpg.Connection, books: Books
) -> None:
    before = {account["id"]: account["balances"] for account in (await books.read("/ledger_accounts?per_page=100"))}
    assert len(await left(superuser, story.name)) >= 10

    redaction = await story.redact(metadata={"customer": "42"}, reason="request 17")

    assert (redaction["object"], redaction["reason"], redaction["ledger_id"]) == (
        "ledger_redaction", "request 17", story.ledger["id"],
    )  # fmt: skip
    assert len(redaction["erased"]) > 15
    assert await left(superuser, story.name) == []
    after = {account["id"]: account["balances"] for account in (await books.read("/ledger_accounts?per_page=100"))}
    assert after == before
    assert await findings(books.service.engine.database) == []
    assert refusal(
        await books.post(f"/ledgers/{story.ledger['id']}/redactions", {"metadata": {"customer": "42"}})
    ) == Refusal(422, "nothing_to_redact", None)


async def test_reads_versions_and_events_show_that_texts_were_erased(story: Story, books: Books) -> None:
    wallet, posted = story.wallet, story.posted
    await story.redact(metadata={"customer": "42"})

    account = await books.read(f"/ledger_accounts/{wallet['id']}")
    assert (account["name"], account["description"], account["external_id"]) == ("[redacted]", "[redacted]", None)
    assert (account["ledgerable_type"], account["ledgerable_id"], account["metadata"]) == (
        "[redacted]",
        "[redacted]",
        ERASED,
    )
    transaction = await books.read(f"/ledger_transactions/{posted['id']}")
    assert (transaction["description"], transaction["external_id"], transaction["metadata"]) == (
        "[redacted]",
        None,
        ERASED,
    )
    assert [one["metadata"] for one in transaction["ledger_entries"]] == [ERASED, ERASED]
    assert [one["amount"] for one in transaction["ledger_entries"]] == [100, 100]
    for version in await books.read(f"/ledger_transactions/{posted['id']}/versions"):
        assert (version["description"], version["metadata"]) == ("[redacted]", ERASED)
    events = await books.read(f"/events?entity_id={wallet['id']}&per_page=100")
    assert {event["data"]["name"] for event in events if event["resource"] == "ledger_account"} == {"[redacted]"}
    [told] = await books.read("/events?resource=ledger_redaction")
    assert told["event_name"] == "created"


async def test_repeated_keys_answer_the_same_without_the_texts(story: Story, books: Books) -> None:
    await story.redact(metadata={"customer": "42"})
    for key, (path, body, first) in story.answers.items():
        again = await books.post(path, body, key=key)
        assert again.status_code in (200, 201), (key, again.text)
        assert story.name not in again.text
        if "ledger_entries" in first:
            told = again.json()
            assert ids([told]) == ids([first])
            assert [one["amount"] for one in told["ledger_entries"]] == [
                one["amount"] for one in first["ledger_entries"]
            ]
            assert [one["resulting_ledger_account_balances"] for one in told["ledger_entries"]] == [
                one["resulting_ledger_account_balances"] for one in first["ledger_entries"]
            ]


async def test_one_entry_is_redacted_and_its_transaction_keeps_its_texts(story: Story, books: Books) -> None:
    posted = story.posted
    first, second = posted["ledger_entries"]

    redaction = await story.redact(ledger_entry_ids=[first["id"]])

    found = await books.read(f"/ledger_transactions/{posted['id']}")
    assert [one["metadata"] for one in found["ledger_entries"]] == [ERASED, story.customer]
    assert (found["description"], found["metadata"]) == (f"for {story.name}", story.customer)
    assert len(redaction["erased"]) == 1  # its metadata came by an annotation; it was created without any
    assert await findings(books.service.engine.database) == []
    await story.redact(ledger_entry_ids=[second["id"]], ledger_transaction_ids=[posted["id"]])
    found = await books.read(f"/ledger_transactions/{posted['id']}")
    assert [one["metadata"] for one in found["ledger_entries"]] == [ERASED, ERASED]
    assert found["description"] == "[redacted]"


async def test_a_redacted_ledger_goes_elsewhere_as_it_is_and_lives_on(
    story: Story, books: Books, elsewhere: Books, elsewhere_url: str
) -> None:
    await story.redact(metadata={"customer": "42"})
    lines = await exported(books, story.ledger)
    assert story.name.encode() not in b"".join(lines)

    await bring(elsewhere, lines)

    number = id_of(story.ledger).ledger
    before = await tables(books.service.engine.database, number)
    assert await tables(elsewhere.service.engine.database, number) == before
    assert await exported(elsewhere, story.ledger) == lines
    assert await findings(elsewhere.service.engine.database) == []
    wallet, cash = story.wallet, story.cash
    await elsewhere.transfer(cash, wallet, 3)
    assert (await elsewhere.patch(f"/ledger_accounts/{wallet['id']}", {"name": "somebody"})).is_success
    assert await findings(elsewhere.service.engine.database) == []
    await assert_invariants(elsewhere_url)


async def test_the_old_root_is_that_of_the_beginning_of_the_log(story: Story, books: Books) -> None:
    ledger = id_of(story.ledger).ledger
    async with books.service.engine.database.connection() as connection:
        old = await log.size(connection, ledger)

    await story.redact(metadata={"customer": "42"})

    assert old is not None
    async with books.service.engine.database.connection() as connection:
        new = await log.size(connection, ledger)
        records = await log.records(connection, ledger, 0, 100_000, 10**9)
    assert new is not None
    assert new.records == old.records + 1
    leaves = [leaf_hash(row[1]) for row in records]
    assert (root_of(leaves[: old.records]), root_of(leaves)) == (old.root, new.root)


async def test_a_discarded_ledger_is_redacted_too(story: Story, superuser: asyncpg.Connection, books: Books) -> None:
    assert (await books.delete(f"/ledgers/{story.ledger['id']}")).status_code == 200

    await story.redact(metadata={"customer": "42"})

    assert await left(superuser, story.name) == []
    assert await findings(books.service.engine.database) == []


async def test_what_can_not_be_redacted_is_refused_and_changes_nothing(
    story: Story, books: Books, others: Books
) -> None:
    path = f"/ledgers/{story.ledger['id']}/redactions"
    posted, wallet = story.posted, story.wallet
    before = await books.state()
    nobody = str(uuid4())

    assert refusal(await books.post(path, {})) == Refusal(422, "parameter_invalid", "metadata")
    assert refusal(await books.post(path, {"ledger_account_ids": [nobody]})).code == "object_not_found"
    assert refusal(await books.post(path, {"ledger_account_ids": [posted["id"]]})) == Refusal(
        404, "object_not_found", "ledger_account_ids[0]"
    )
    assert refusal(await books.post(path, {"ledger_transaction_ids": [posted["id"], wallet["id"]]})) == Refusal(
        404, "object_not_found", "ledger_transaction_ids[1]"
    )
    assert refusal(await others.post(path, {"metadata": {"customer": "42"}})).code == "object_not_found"
    assert refusal(await books.post(path, {"metadata": {"customer": "44"}})).code == "nothing_to_redact"
    assert await books.state() == before
