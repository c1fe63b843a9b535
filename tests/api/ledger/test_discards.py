"""Discarding accounts and ledgers, purging ledgers, and who holds an external_id meanwhile."""

import asyncio

import pytest

from tests.api.over_http import Books, Json, Refusal, entry, pair, refusal

pytestmark = pytest.mark.anyio


async def test_an_account_at_zero_is_discarded_and_stays_readable(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet)
    await books.transfer(wallet, cash)
    path = f"/ledger_accounts/{wallet['id']}"
    discarded = (await books.delete(path)).json()
    assert discarded["discarded_at"] == discarded["updated_at"]
    assert discarded["discarded_at"] is not None
    assert await books.read(path) == discarded
    assert await books.read(f"/ledger_transactions/{made['id']}") == made
    assert len(await books.read(f"/ledger_entries?ledger_account_id={wallet['id']}")) == 2
    assert await books.read(f"/ledger_accounts?id[]={wallet['id']}") == [discarded]
    assert await books.read(f"/ledger_accounts?id[]={wallet['id']}&discarded=false") == []
    assert await books.read(f"/ledger_accounts?ledger_id={wallet['ledger_id']}&discarded=true") == [discarded]


async def test_discarding_again_changes_nothing(books: Books) -> None:
    cash, _ = await books.cash_and_wallet()
    first = await books.delete(f"/ledger_accounts/{cash['id']}")
    ledger = await books.delete(f"/ledgers/{cash['ledger_id']}")
    before = await books.state()
    assert (await books.delete(f"/ledgers/{cash['ledger_id']}")).content == ledger.content
    assert await books.state() == before
    assert first.status_code == ledger.status_code == 200


async def test_a_discarded_account_takes_no_entry_and_no_change(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    await books.delete(f"/ledger_accounts/{wallet['id']}")
    before = await books.state()
    refused = await books.post("/ledger_transactions", {"ledger_entries": pair(cash, wallet)})
    where = "ledger_entries[1].ledger_account_id"
    assert refusal(refused) == Refusal(422, "account_discarded", where)
    refused = await books.patch(f"/ledger_accounts/{wallet['id']}", {"name": "x"})
    assert refusal(refused) == Refusal(422, "account_discarded", None)
    assert await books.state() == before


@pytest.mark.parametrize(
    ("amount", "status", "told"),
    [
        (100, "posted", {"posted": 100, "pending_credits": 0, "pending_debits": 0, "pending_entries": 0}),
        (100, "pending", {"posted": 0, "pending_credits": 100, "pending_debits": 0, "pending_entries": 1}),
        (0, "pending", {"posted": 0, "pending_credits": 0, "pending_debits": 0, "pending_entries": 1}),
    ],
)
async def test_an_account_with_a_balance_or_something_pending_is_not_discarded(
    books: Books, amount: int, status: str, told: Json
) -> None:
    cash, wallet = await books.cash_and_wallet()
    await books.transfer(cash, wallet, amount, status)
    before = await books.state()
    refused = await books.delete(f"/ledger_accounts/{wallet['id']}")
    assert refusal(refused) == Refusal(422, "account_not_empty", None)
    assert refused.json()["errors"]["refusal"] == {"code": "account_not_empty", "retryable": False, **told}
    assert await books.state() == before


async def test_a_discarded_ledger_is_read_as_before_and_takes_nothing(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    held = await books.transfer(cash, wallet, status="pending")
    posted = await books.transfer(cash, wallet)
    path = f"/ledgers/{cash['ledger_id']}"
    discarded = await books.delete(path)
    assert discarded.status_code == 200
    assert discarded.json()["discarded_at"] is not None
    assert await books.read(path) == discarded.json()
    assert (await books.read(f"/ledger_accounts/{cash['id']}"))["discarded_at"] == discarded.json()["discarded_at"]
    assert await books.read(f"/ledger_transactions?ledger_id={cash['ledger_id']}") == [posted, held]
    assert len(await books.read(f"/ledger_entries?ledger_account_id={cash['id']}")) == 2
    assert await books.read(f"/ledgers?id[]={cash['ledger_id']}&discarded=false") == []

    before = await books.state()
    transaction = f"/ledger_transactions/{held['id']}"
    account = {"name": "x", "ledger_id": cash["ledger_id"], "currency": "PHP", "normal_balance": "debit"}
    answers = [
        await books.post("/ledger_transactions", {"ledger_entries": pair(cash, wallet)}),
        await books.patch(transaction, {"status": "posted"}),
        await books.patch(transaction, {"metadata": {"a": "b"}}),
        await books.post(f"/ledger_transactions/{posted['id']}/reversal", {}),
        await books.post("/ledger_accounts", account),
        await books.patch(f"/ledger_accounts/{cash['id']}", {"name": "x"}),
        await books.delete(f"/ledger_accounts/{cash['id']}"),
        await books.patch(f"/ledger_entries/{held['ledger_entries'][0]['id']}", {"metadata": {"a": "b"}}),
        await books.patch(path, {"name": "x"}),
    ]
    assert [refusal(answer) for answer in answers] == [Refusal(422, "ledger_discarded", None)] * len(answers)
    assert await books.state() == before


@pytest.mark.parametrize("confirm", ["", "&confirm=", "&confirm=yes", "&confirm=00000000-0000-8000-8000-000000000400"])
async def test_a_purge_without_the_ledgers_own_id_is_refused(books: Books, confirm: str) -> None:
    cash, _ = await books.cash_and_wallet()
    before = await books.state()
    refused = await books.delete(f"/ledgers/{cash['ledger_id']}?purge=true{confirm}")
    assert refusal(refused) == Refusal(422, "purge_not_confirmed", "confirm")
    assert await books.state() == before


@pytest.mark.parametrize("role", ["read", "write"])
async def test_only_an_admin_purges(books: Books, role: str) -> None:
    cash, _ = await books.cash_and_wallet()
    path = f"/api/ledgers/{cash['ledger_id']}?purge=true&confirm={cash['ledger_id']}"
    api_key = await books.key(role)  # type: ignore[arg-type] # the two are roles
    before = await books.state()
    refused = await books.client.delete(path, auth=(str(books.organization_id), api_key))
    assert refusal(refused) == Refusal(403, "role_insufficient", None)
    assert await books.state() == before


async def test_a_purged_ledger_is_gone_with_all_its_data_and_leaves_a_line_in_the_organizations_log(
    books: Books,
) -> None:
    cash, wallet = await books.cash_and_wallet()
    kept_cash, kept_wallet = await books.cash_and_wallet()
    kept = await books.transfer(kept_cash, kept_wallet)
    held = await books.transfer(cash, wallet, status="pending", metadata={"a": "b"})
    await books.patch(f"/ledger_transactions/{held['id']}", {"ledger_entries": pair(cash, wallet, 5)}, key="k")
    await books.patch(f"/ledger_entries/{held['ledger_entries'][0]['id']}", {"metadata": {"a": "b"}})
    ledger = cash["ledger_id"]
    purged = await books.delete(f"/ledgers/{ledger}?purge=true&confirm={ledger.upper()}")
    assert (purged.status_code, purged.json()["id"]) == (200, ledger)

    for path in (
        f"/ledgers/{ledger}",
        f"/ledger_accounts/{cash['id']}",
        f"/ledger_transactions/{held['id']}",
        f"/ledger_entries/{held['ledger_entries'][0]['id']}",
    ):
        assert refusal(await books.get(path)).code == "object_not_found"
    assert refusal(await books.delete(f"/ledgers/{ledger}?purge=true&confirm={ledger}")).code == "object_not_found"
    assert await books.read(f"/ledger_transactions?ledger_id={ledger}") == []
    assert [found["id"] for found in await books.read("/ledgers")] == [kept_cash["ledger_id"]]
    assert [found["id"] for found in await books.read("/ledger_transactions")] == [kept["id"]]
    assert refusal(await books.post("/ledger_transactions", {"ledger_entries": pair(cash, wallet)})).status == 404

    async with books.service.engine.database.connection() as connection:
        last = await connection.fetchrow(
            "select kind, actor, payload from organization_log where organization_id = $1 "
            "order by sequence desc limit 1",
            books.organization_id,
        )
        tables = await connection.fetch(
            "select table_name from information_schema.columns where table_schema = 'doppia' "
            "and column_name = 'ledger_id' and table_name <> 'purged_ledgers'"
        )
        left = [
            await connection.fetchval(
                f"select count(*) from {row[0]} where ledger_id = (select ledger_id from purged_ledgers)"
            )
            for row in tables
        ]
    assert (last["kind"], last["payload"]["ledger_id"]) == ("ledger_purged", ledger)
    assert last["actor"] is not None
    assert len(left) >= 10
    assert not any(left)


async def test_an_external_id_is_one_pending_or_posted_transactions_of_its_ledger(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    holder = await books.transfer(cash, wallet, status="pending", external_id="e-1")
    before = await books.state()
    for status in ("pending", "posted"):
        body = {"status": status, "external_id": "e-1", "ledger_entries": pair(cash, wallet)}
        refused = await books.post("/ledger_transactions", body)
        assert refusal(refused) == Refusal(422, "external_id_taken", "external_id")
        told = refused.json()["errors"]["refusal"]
        assert (told["external_id"], told["taken_by"]) == ("e-1", holder["id"])
    assert await books.state() == before
    # Archived ones and those of other ledgers are free to have it.
    await books.transfer(cash, wallet, status="archived", external_id="e-1")
    other_cash, other_wallet = await books.cash_and_wallet()
    other = await books.transfer(other_cash, other_wallet, external_id="e-1")
    refused = await books.patch(
        f"/ledger_transactions/{(await books.transfer(cash, wallet))['id']}", {"external_id": "e-1"}
    )
    assert refusal(refused).code == "external_id_taken"

    await books.patch(f"/ledger_transactions/{holder['id']}", {"status": "archived"})
    heir = await books.transfer(cash, wallet, external_id="e-1")
    reversed_ = await books.post(f"/ledger_transactions/{heir['id']}/reversal", {"external_id": "e-1"})
    assert refusal(reversed_).code == "external_id_taken"
    found = await books.read("/ledger_transactions?external_id=e-1&status[]=pending&status[]=posted")
    assert [row["id"] for row in found] == [heir["id"], other["id"]]


async def test_of_writers_at_once_one_gets_the_external_id(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    body = {"status": "posted", "external_id": "race", "ledger_entries": pair(cash, wallet)}
    answers = await asyncio.gather(*(books.post("/ledger_transactions", body) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [422] * 7
    assert (await books.balances(wallet))["posted"] == (100, 0, 100)


async def test_a_transaction_may_be_given_its_own_external_id_again(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet, external_id="e")
    assert (await books.patch(f"/ledger_transactions/{made['id']}", {"external_id": "e"})).status_code == 200


async def test_an_external_id_is_one_active_accounts_of_its_ledger(books: Books) -> None:
    ledger = await books.ledger()
    holder = await books.account(ledger, external_id="w-1")
    second = await books.account(ledger)
    before = await books.state()
    body = {
        "name": "x", "ledger_id": ledger["id"], "currency": "PHP", "normal_balance": "debit", "external_id": "w-1",
    }  # fmt: skip
    for refused in (
        await books.post("/ledger_accounts", body),
        await books.patch(f"/ledger_accounts/{second['id']}", {"external_id": "w-1"}),
    ):
        assert refusal(refused) == Refusal(422, "external_id_taken", "external_id")
        assert refused.json()["errors"]["refusal"]["taken_by"] == holder["id"]
    assert await books.state() == before
    await books.account(await books.ledger(), external_id="w-1")
    await books.delete(f"/ledger_accounts/{holder['id']}")
    assert (await books.post("/ledger_accounts", body)).status_code == 201


async def test_a_pending_archive_frees_the_external_id_for_a_change_too(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet, status="pending", external_id="a")
    renamed = {"external_id": "b", "ledger_entries": [entry(cash, "debit", 1), entry(wallet, "credit", 1)]}
    assert (await books.patch(f"/ledger_transactions/{made['id']}", renamed)).status_code == 200
    assert (await books.transfer(cash, wallet, external_id="a"))["external_id"] == "a"
