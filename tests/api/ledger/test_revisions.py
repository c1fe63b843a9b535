"""Changes: all of a pending transaction, metadata and external_id of a posted one, metadata of an archived one."""

from typing import Any

import pytest

from tests.api.over_http import Books, Json, Refusal, entry, ids, pair, refusal

pytestmark = pytest.mark.anyio


async def test_a_plain_field_changes_without_new_entries(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet, status="pending", description="a", metadata={"keep": "1", "drop": "2"})
    body = {
        "description": "b", "external_id": "e-1", "ledgerable_type": "payment_order", "ledgerable_id": "p-1",
        "metadata": {"drop": "", "gone": None, "new": "3"},
    }  # fmt: skip
    changed = (await books.patch(f"/ledger_transactions/{made['id']}", body)).json()
    assert changed == {
        **made,
        **body,
        "metadata": {"keep": "1", "new": "3"},
        "updated_at": changed["updated_at"],
    }
    assert changed["updated_at"] > made["updated_at"]
    assert await books.lock_version(wallet) == 1
    assert await books.read(f"/ledger_transactions/{made['id']}") == changed


async def test_null_empties_a_field_that_can_be_empty(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(
        cash, wallet, status="pending", description="a", external_id="e", ledgerable_type="return", ledgerable_id="r"
    )
    body = {"description": None, "external_id": None, "ledgerable_type": None, "ledgerable_id": None, "metadata": None}
    changed = (await books.patch(f"/ledger_transactions/{made['id']}", body)).json()
    assert [changed[name] for name in ("description", "external_id", "ledgerable_type", "ledgerable_id")] == [None] * 4
    await books.transfer(cash, wallet, external_id="e")


async def test_an_empty_change_is_a_change_of_nothing(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet)
    changed = (await books.patch(f"/ledger_transactions/{made['id']}", {})).json()
    assert {**changed, "updated_at": made["updated_at"]} == made


async def test_new_entries_replace_the_old_ones_which_are_discarded_and_stay_readable(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    fees = await books.account(await books.read(f"/ledgers/{wallet['ledger_id']}"), "credit")
    legs = [entry(cash, "debit", 100, metadata={"a": "b"}), entry(wallet, "credit", 100)]
    made = (await books.post("/ledger_transactions", {"ledger_entries": legs})).json()
    old = made["ledger_entries"]
    new_legs = [*pair(cash, wallet, 70), entry(cash, "debit", 30), entry(fees, "credit", 30)]
    changed = (await books.patch(f"/ledger_transactions/{made['id']}", {"ledger_entries": new_legs})).json()

    new = changed["ledger_entries"]
    assert changed["id"] == made["id"]
    assert not set(ids(old)) & set(ids(new))
    assert [found["metadata"] for found in new] == [{}] * 4
    # The first new entry on an account takes its predecessor's place in one step; each further one is another.
    assert [found["ledger_account_lock_version"] for found in new] == [2, 2, 3, 1]
    assert (await books.balances(wallet))["pending"] == (70, 0, 70)
    read = await books.read(f"/ledger_entries/{old[0]['id']}")
    assert read["discarded_at"] == changed["updated_at"]
    assert (read["amount"], read["metadata"], read["status"]) == (100, {"a": "b"}, "pending")
    listed = await books.get(f"/ledger_entries?ledger_transaction_id={made['id']}")
    assert set(ids(listed)) == set(ids(new))
    with_deleted = await books.get(f"/ledger_entries?ledger_transaction_id={made['id']}&show_deleted=true")
    assert set(ids(with_deleted)) == set(ids(old)) | set(ids(new))


async def test_an_entry_that_nothing_succeeds_is_a_step_of_its_account(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    bank = await books.account(await books.read(f"/ledgers/{wallet['ledger_id']}"))
    made = await books.transfer(cash, wallet, status="pending")
    await books.patch(f"/ledger_transactions/{made['id']}", {"ledger_entries": pair(bank, wallet, 100)})
    assert [await books.lock_version(account) for account in (cash, wallet, bank)] == [2, 2, 1]
    assert (await books.balances(cash))["pending"] == (0, 0, 0)


@pytest.mark.parametrize(
    "body", [{"status": "posted"}, {"effective_at": "2024-02-29T12:00:00Z"}, {"status": "pending"}]
)
async def test_a_new_status_or_time_rewrites_the_entries_as_they_are(books: Books, body: Json) -> None:
    cash, wallet = await books.cash_and_wallet()
    legs = [entry(cash, "debit", 100, metadata={"a": "b"}), entry(wallet, "credit", 100)]
    made = (await books.post("/ledger_transactions", {"ledger_entries": legs})).json()
    changed = (await books.patch(f"/ledger_transactions/{made['id']}", body)).json()
    assert changed["status"] == body.get("status", "pending")
    assert (changed["posted_at"] == changed["updated_at"]) == (changed["status"] == "posted")
    kept = ("ledger_account_id", "direction", "amount", "metadata")
    for old, new in zip(made["ledger_entries"], changed["ledger_entries"], strict=True):
        assert [old[name] for name in kept] == [new[name] for name in kept]
        assert old["id"] != new["id"]
        assert (new["status"], new["effective_at"]) == (changed["status"], changed["effective_at"])
        assert new["ledger_account_lock_version"] == 2
        assert (await books.read(f"/ledger_entries/{old['id']}"))["discarded_at"] is not None


async def test_an_entry_with_a_time_of_its_own_keeps_it_when_the_transaction_moves(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    legs = [entry(cash, "debit", 1, effective_at="2023-01-01T00:00:00Z"), entry(wallet, "credit", 1)]
    body = {"effective_at": "2024-01-01T00:00:00Z", "ledger_entries": legs}
    made = (await books.post("/ledger_transactions", body)).json()
    changed = await books.patch(f"/ledger_transactions/{made['id']}", {"effective_at": "2025-05-05T00:00:00.5+02:00"})
    times = [found["effective_at"] for found in changed.json()["ledger_entries"]]
    assert times == ["2023-01-01T00:00:00Z", "2025-05-04T22:00:00.500000Z"]
    assert changed.json()["effective_date"] == "2025-05-04"


async def test_archiving_ends_the_entries_and_keeps_them_readable(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet, status="pending")
    changed = (await books.patch(f"/ledger_transactions/{made['id']}", {"status": "archived"})).json()
    assert (changed["status"], changed["posted_at"]) == ("archived", None)
    assert ids(changed["ledger_entries"]) == ids(made["ledger_entries"])
    assert [found["discarded_at"] for found in changed["ledger_entries"]] == [changed["updated_at"]] * 2
    assert await books.read(f"/ledger_transactions/{made['id']}") == changed
    assert await books.lock_version(wallet) == 2


FIXED: list[dict[str, Any]] = [
    {"description": "x"}, {"description": None}, {"effective_at": "2024-01-01T00:00:00Z"}, {"status": "posted"},
    {"status": "pending"}, {"status": "archived"}, {"ledgerable_type": "x"}, {"ledgerable_id": "x"},
    {"metadata": {"a": "b"}, "description": "x"},
]  # fmt: skip


@pytest.mark.parametrize("body", FIXED)
@pytest.mark.parametrize("status", ["posted", "archived"])
async def test_a_final_transaction_refuses_the_change_and_changes_nothing(
    books: Books, status: str, body: Json
) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet, status=status)
    before = await books.state()
    refused = await books.patch(f"/ledger_transactions/{made['id']}", body)
    assert refusal(refused).code == "transaction_final"
    assert refused.status_code == 422
    assert refused.json()["errors"]["refusal"]["status"] == status
    assert await books.state() == before


@pytest.mark.parametrize("status", ["posted", "archived"])
async def test_new_entries_are_refused_by_a_final_transaction(books: Books, status: str) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet, status=status)
    refused = await books.patch(f"/ledger_transactions/{made['id']}", {"ledger_entries": pair(cash, wallet, 100)})
    assert refusal(refused).code == "transaction_final"


async def test_a_posted_transaction_takes_metadata_and_external_id(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet, metadata={"a": "1"})
    body = {"metadata": {"b": "2"}, "external_id": "e"}
    changed = (await books.patch(f"/ledger_transactions/{made['id']}", body)).json()
    expected = {"metadata": {"a": "1", "b": "2"}, "external_id": "e", "updated_at": changed["updated_at"]}
    assert changed == {**made, **expected}


async def test_an_archived_transaction_takes_metadata_only(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet, status="archived")
    assert (await books.patch(f"/ledger_transactions/{made['id']}", {"metadata": {"a": "b"}})).status_code == 200
    refused = await books.patch(f"/ledger_transactions/{made['id']}", {"external_id": "e"})
    assert refusal(refused) == Refusal(422, "transaction_final", None)


async def test_a_change_that_archives_takes_no_new_entries(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet, status="pending")
    before = await books.state()
    body = {"status": "archived", "ledger_entries": pair(cash, wallet, 1)}
    refused = await books.patch(f"/ledger_transactions/{made['id']}", body)
    assert refusal(refused) == Refusal(422, "parameter_invalid", "ledger_entries")
    assert await books.state() == before


async def test_a_pending_entry_cannot_be_posted_on_an_account_that_is_gone(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet, status="pending")
    assert refusal(await books.delete(f"/ledger_accounts/{wallet['id']}")).code == "account_not_empty"
    await books.patch(f"/ledger_transactions/{made['id']}", {"status": "archived"})
    assert (await books.delete(f"/ledger_accounts/{wallet['id']}")).status_code == 200


async def test_metadata_of_an_entry_is_merged_and_nothing_else_of_it_changes(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet)
    found = made["ledger_entries"][0]
    for body, expected in (
        ({"metadata": {"a": "1", "b": "2"}}, {"a": "1", "b": "2"}),
        ({"metadata": {"a": "", "c": "3"}}, {"b": "2", "c": "3"}),
        ({"metadata": {"b": None, "c": None}}, {}),
        ({}, {}),
    ):
        changed = (await books.patch(f"/ledger_entries/{found['id']}", body)).json()
        assert changed == {**found, "metadata": expected, "updated_at": changed["updated_at"]}
        assert await books.read(f"/ledger_entries/{found['id']}") == changed


async def test_ledgers_and_accounts_change_by_the_fields_that_are_sent(books: Books) -> None:
    ledger = await books.ledger(description="d", metadata={"a": "1", "b": "2", "empty": ""})
    assert ledger["metadata"] == {"a": "1", "b": "2"}
    account = await books.account(ledger, description="d", external_id="e", metadata={"a": "1", "b": "2"})
    body: Json = {"name": "new", "metadata": {"a": None, "c": "3"}}
    for path, made in ((f"/ledgers/{ledger['id']}", ledger), (f"/ledger_accounts/{account['id']}", account)):
        changed = (await books.patch(path, body)).json()
        expected = {"name": "new", "metadata": {"b": "2", "c": "3"}, "updated_at": changed["updated_at"]}
        assert changed == {**made, **expected}
        assert await books.read(path) == changed
        assert (await books.patch(path, {"description": None})).json()["description"] is None
    freed = (await books.patch(f"/ledger_accounts/{account['id']}", {"external_id": None})).json()
    assert freed["external_id"] is None
    assert (await books.account(ledger, external_id="e"))["external_id"] == "e"
