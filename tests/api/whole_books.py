"""A ledger in which everything has happened, and all that a database and the API say of one."""

import asyncio
from datetime import timedelta
from typing import Any, Final

from doppia.engine.background.expiry import expire_due
from doppia.store.database.connections import Database
from tests.api.closing.settlements_over_http import change, pick, settle
from tests.api.ledger.chart_books import add, remove
from tests.api.over_http import Books, Json, entry, now, pair

HUGE: Final = 10**36
FAMILY: Final = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
COMBINED: Final = "e\u0301\u00e9\ufb01\u212b\u1100\u1161\u0635\u0644\u0649"

_NOT_OF_THE_LOG: Final = ("idempotency_keys", "bulk_requests", "bulk_results", "purged_ledgers")


async def live(books: Books) -> Json:
    """Make a ledger, and let everything happen in it that a log can tell of."""
    ledger = await books.ledger(
        name=f"Everything {FAMILY}", description=COMBINED, metadata={COMBINED: FAMILY, "a": "1"}
    )
    cash = await books.account(ledger, "debit", name=FAMILY, description=COMBINED, external_id=COMBINED)
    chart = await _chart(books, ledger)
    wallet = await books.account(
        ledger, "credit", name=COMBINED, metadata={FAMILY: COMBINED},
        ledger_account_category_ids=[chart["wallets"]["id"], chart["all"]["id"]],
    )  # fmt: skip
    issued = await books.account(ledger, "debit", currency="COIN", currency_exponent=18)
    coins = await books.account(ledger, "credit", currency="COIN", currency_exponent=18)
    await books.transfer(issued, coins, HUGE)
    await books.transfer(issued, coins, HUGE, effective_at="1999-12-31T23:59:59.999999Z")
    await _watch(books, wallet)
    await _transactions(books, cash, wallet)
    await _settlements(books, ledger, wallet, cash)
    await _chart_again(books, ledger, chart, wallet)
    await _statements(books, cash, wallet)
    empty = await books.account(ledger, name="empty", external_id="again")
    assert (await books.delete(f"/ledger_accounts/{empty['id']}")).status_code == 200
    await books.account(ledger, name="not empty", external_id="again")
    assert (await books.patch(f"/ledger_accounts/{cash['id']}", {"name": "Cash", "metadata": {"b": "2"}})).is_success
    assert (await books.patch(f"/ledgers/{ledger['id']}", {"metadata": {"a": "", "c": COMBINED}})).is_success
    return ledger


async def _chart(books: Books, ledger: Json) -> dict[str, Json]:
    everything = await books.category(ledger, name="all", external_id="all", metadata={"m": COMBINED})
    wallets = await books.category(ledger, everything, name="wallets")
    return {"all": everything, "wallets": wallets, "spare": await books.category(ledger, name="spare")}


async def _chart_again(books: Books, ledger: Json, chart: dict[str, Json], wallet: Json) -> None:
    await add(books, chart["spare"], wallet, chart["wallets"])
    await remove(books, chart["all"], chart["wallets"])
    await remove(books, chart["all"], wallet)
    path = f"/ledger_account_categories/{chart['spare']['id']}"
    assert (await books.patch(path, {"name": FAMILY})).is_success
    assert (await books.delete(path)).is_success
    again = await books.category(ledger, chart["all"], name="again")
    await add(books, again, chart["wallets"], wallet)


async def _watch(books: Books, wallet: Json) -> None:
    made = []
    for value in (-1, 0, 150, 10**40):
        body = {
            "ledger_account_id": wallet["id"], "description": FAMILY, "metadata": {"v": str(value)},
            "alert_condition": {"field": "posted_balance_amount", "operator": "greater_than", "value": value},
        }  # fmt: skip
        answer = await books.post("/ledger_account_balance_monitors", body)
        assert answer.status_code == 201, answer.text
        made.append(f"/ledger_account_balance_monitors/{answer.json()['id']}")
    assert (await books.patch(made[1], {"description": COMBINED})).is_success
    assert (await books.delete(made[3])).is_success


async def _transactions(books: Books, cash: Json, wallet: Json) -> None:
    first = await books.transfer(cash, wallet, 100, description=COMBINED, external_id=FAMILY, metadata={"k": FAMILY})
    held = await books.transfer(cash, wallet, 60, "pending", external_id="held", expires_at="2999-01-01T00:00:00Z")
    path = f"/ledger_transactions/{held['id']}"
    assert (await books.patch(path, {"description": "only told"})).is_success
    rewritten = [entry(cash, "debit", 30, metadata={"leg": "1"}), entry(cash, "debit", 40), entry(wallet, "credit", 70)]
    assert (await books.patch(path, {"ledger_entries": rewritten})).is_success
    assert (await books.patch(path, {"effective_at": "2020-02-02T02:02:02Z"})).is_success
    assert (await books.patch(path, {"status": "posted"})).is_success
    assert (await books.patch(path, {"metadata": {"after": FAMILY}})).is_success
    archived = await books.transfer(cash, wallet, 5, "pending", external_id="held no more")
    path = f"/ledger_transactions/{archived['id']}"
    assert (await books.patch(path, {"status": "archived"})).is_success
    assert (await books.patch(path, {"metadata": {"why": "it was"}})).is_success
    parted = await books.transfer(cash, wallet, 50, "pending")
    for amount in (10, 15):
        taken = {"posted_ledger_entries": pair(cash, wallet, amount)}
        answer = await books.post(f"/ledger_transactions/{parted['id']}/partial_post", taken)
        assert answer.status_code == 201, answer.text
    answer = await books.post(f"/ledger_transactions/{first['id']}/reversal", {"description": COMBINED})
    assert answer.status_code == 201, answer.text
    guarded = [entry(cash, "debit", 9), entry(wallet, "credit", 9, available_balance_amount={"lt": 0})]
    body = {"ledger_entries": guarded, "status": "posted", "archive_on_balance_lock_failure": True}
    answer = await books.post("/ledger_transactions", body)
    assert answer.json()["status"] == "archived", answer.text
    soon = await books.transfer(cash, wallet, 3, "pending", expires_at=_soon())
    while (await books.read(f"/ledger_transactions/{soon['id']}"))["status"] == "pending":
        await asyncio.sleep(0.1)
        await expire_due(books.service.engine)
    for noted in (first["ledger_entries"][0], first["ledger_entries"][0], first["ledger_entries"][1]):
        assert (await books.patch(f"/ledger_entries/{noted['id']}", {"metadata": {"note": FAMILY}})).is_success
    for size in (1, 300, 700):
        legs = pair(cash, wallet, 7)
        items = [{"status": "posted", "ledger_entries": legs, "metadata": {"n": str(n)}} for n in range(size)]
        answer = await books.post("/ledger_transactions/batch", {"ledger_transactions": items})
        assert answer.is_success, answer.text


def _soon() -> str:
    return (now() + timedelta(seconds=0.5)).isoformat()


async def _settlements(books: Books, ledger: Json, wallet: Json, cash: Json) -> None:
    seller = await books.account(ledger, "credit", name="seller")
    entries = []
    for amount in (11, 12, 13, 14):
        told = await books.transfer(cash, seller, amount)
        entries += [e["id"] for e in told["ledger_entries"] if e["ledger_account_id"] == seller["id"]]
    draft = await settle(books, seller, wallet, status="drafting", description=FAMILY)
    assert (await pick(books, "PATCH", draft, entries[:3])).is_success
    assert (await pick(books, "DELETE", draft, entries[1:2])).is_success
    await change(books, draft, status="posted")
    swept = await settle(books, seller, wallet, status="pending", metadata={"s": COMBINED})
    await change(books, swept, status="archived")
    last = await settle(books, seller, wallet, status="pending")
    await change(books, last, status="posted", metadata={"posted": "1"})
    await books.transfer(cash, seller, 99)
    await settle(books, seller, wallet, status="drafting")
    await settle(books, seller, wallet, status="posted", skip_settlement_ledger_transaction=True)


async def _statements(books: Books, cash: Json, wallet: Json) -> None:
    for account in (cash, wallet):
        body = {
            "ledger_account_id": account["id"], "description": COMBINED, "metadata": {"s": FAMILY},
            "effective_at_lower_bound": "2020-01-01T00:00:00Z", "effective_at_upper_bound": "2030-01-01T00:00:00Z",
        }  # fmt: skip
        answer = await books.post("/ledger_account_statements", body)
        assert answer.status_code == 201, answer.text
    await books.transfer(cash, wallet, 21, effective_at="2021-01-01T00:00:00Z")


async def tables(database: Database, ledger: int) -> dict[str, list[Any]]:
    """Return every row that a database has of a ledger, by table, with all columns but the organization's."""
    async with database.connection() as connection:
        names = await connection.fetch(
            "select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid"
            " where c.relnamespace = 'doppia'::regnamespace and c.relkind = 'r' and a.attname = 'ledger_id'"
            "   and not a.attisdropped order by c.relname"
        )
        found = {}
        for name in (row[0] for row in names if row[0] not in _NOT_OF_THE_LOG):
            query = (
                f"select (to_jsonb(t) - 'organization_id')::text as row from {name} t where ledger_id = $1 order by 1"
            )
            found[name] = [row[0] for row in await connection.fetch(query, ledger)]
    return found
