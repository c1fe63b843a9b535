"""The official client drives every route, and every field comes back as its types say."""

from datetime import UTC, date, datetime

import httpx
import pytest
from modern_treasury import (
    AsyncModernTreasury,
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    UnprocessableEntityError,
)

from tests.client.treasury_books import legs, open_books, transfer

pytestmark = pytest.mark.anyio

NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)


async def test_ping_answers(treasury: AsyncModernTreasury) -> None:
    assert (await treasury.ping()).ping == "pong"


async def test_a_ledger_is_created_read_changed_listed_and_discarded(treasury: AsyncModernTreasury) -> None:
    made = await treasury.ledgers.create(name="a", description="d", metadata={"k": "v", "l": "w"})
    assert (made.object, made.name, made.description, made.metadata) == ("ledger", "a", "d", {"k": "v", "l": "w"})
    assert made.live_mode
    assert made.discarded_at is None
    assert await treasury.ledgers.retrieve(made.id) == made
    changed = await treasury.ledgers.update(made.id, name="b", description="e", metadata={"k": ""})
    assert (changed.name, changed.description, changed.metadata) == ("b", "e", {"l": "w"})
    assert (await treasury.ledgers.list()).items == [changed]
    discarded = await treasury.ledgers.delete(made.id)
    assert discarded.discarded_at is not None
    assert await treasury.ledgers.retrieve(made.id) == discarded


async def test_an_account_is_created_read_changed_listed_and_discarded(treasury: AsyncModernTreasury) -> None:
    ledger = await treasury.ledgers.create(name="books")
    made = await treasury.ledger_accounts.create(
        name="a", ledger_id=ledger.id, currency="MILES", currency_exponent=3, normal_balance="credit", description="d",
        external_id="e", ledgerable_type="counterparty", ledgerable_id="c-1", metadata={"k": "v"},
    )  # fmt: skip
    assert (made.object, made.ledger_id, made.lock_version) == ("ledger_account", ledger.id, 0)
    assert (made.ledgerable_type, made.ledgerable_id, made.external_id) == ("counterparty", "c-1", "e")
    balance = made.balances.available_balance
    assert (balance.amount, balance.currency, balance.currency_exponent) == (0, "MILES", 3)
    assert await treasury.ledger_accounts.retrieve(made.id) == made
    changed = await treasury.ledger_accounts.update(
        made.id, name="b", description="e", external_id="f", metadata={"k": "", "l": "w"}
    )
    assert (changed.name, changed.description, changed.external_id, changed.metadata) == ("b", "e", "f", {"l": "w"})
    assert (await treasury.ledger_accounts.list()).items == [changed]
    assert (await treasury.ledger_accounts.delete(made.id)).discarded_at is not None


async def test_a_transaction_is_created_read_changed_listed_and_reversed(treasury: AsyncModernTreasury) -> None:
    books = await open_books(treasury)
    made = await treasury.ledger_transactions.create(
        ledger_entries=[
            {
                "ledger_account_id": books.cash.id, "direction": "debit", "amount": 70, "lock_version": 0,
                "show_resulting_ledger_account_balances": True, "metadata": {"k": "v"}, "effective_at": NEW_YEAR,
                "pending_balance_amount": {"gte": 70, "lt": 71}, "posted_balance_amount": {"eq": 0},
                "available_balance_amount": {"gt": -1, "lte": 0, "not_eq": 1},
            },
            {"ledger_account_id": books.wallet.id, "direction": "credit", "amount": 70, "amount_string": "70"},
        ],
        status="pending", description="d", effective_at=datetime(2024, 2, 29, 12, 30, 0, 123456, tzinfo=UTC),
        external_id="e", ledgerable_type="payment_order", ledgerable_id="p-1", metadata={"k": "v"},
    )  # fmt: skip
    assert (made.object, made.status, made.ledger_id) == ("ledger_transaction", "pending", books.ledger.id)
    assert (made.effective_at, made.effective_date) == (
        datetime(2024, 2, 29, 12, 30, 0, 123456, tzinfo=UTC),
        date(2024, 2, 29),
    )
    debit, credit = made.ledger_entries
    assert (debit.effective_at, credit.effective_at) == (NEW_YEAR, made.effective_at)
    assert (debit.amount, debit.amount_string, debit.metadata) == (70, "70", {"k": "v"})
    assert debit.resulting_ledger_account_balances is not None
    assert debit.resulting_ledger_account_balances.pending_balance.amount == 70
    assert credit.resulting_ledger_account_balances is None
    read = await treasury.ledger_transactions.retrieve(made.id)
    assert (read.id, read.external_id, read.ledgerable_id) == (made.id, "e", "p-1")

    changed = await treasury.ledger_transactions.update(
        made.id, status="posted", description="f", external_id="g", effective_at=NEW_YEAR, ledgerable_type="return",
        ledgerable_id="r-1", metadata={"l": "w"}, ledger_entries=legs(books, 90),
    )  # fmt: skip
    assert (changed.status, changed.description, changed.external_id) == ("posted", "f", "g")
    assert (changed.effective_at, changed.metadata) == (NEW_YEAR, {"k": "v", "l": "w"})
    assert (changed.ledgerable_type, changed.ledgerable_id) == ("return", "r-1")
    assert [entry.amount for entry in changed.ledger_entries] == [90, 90]
    assert changed.posted_at == changed.updated_at

    reversal = await treasury.ledger_transactions.create_reversal(
        made.id, status="pending", description="r", external_id="h", effective_at=datetime(2024, 3, 1, tzinfo=UTC),
        ledgerable_type="reversal", ledgerable_id="v-1", metadata={"m": "x"},
    )  # fmt: skip
    assert (reversal.reverses_ledger_transaction_id, reversal.status) == (made.id, "pending")
    assert reversal.effective_date == date(2024, 3, 1)
    original = await treasury.ledger_transactions.retrieve(made.id)
    assert original.reversed_by_ledger_transaction_id == reversal.id
    assert (await treasury.ledger_transactions.list()).items == [reversal, original]
    archived = await treasury.ledger_transactions.update(reversal.id, status="archived")
    assert archived.status == "archived"
    plain = await treasury.ledger_transactions.create_reversal(made.id)
    assert (plain.status, plain.effective_at) == ("posted", NEW_YEAR)


async def test_an_effective_date_is_sent_as_a_date(treasury: AsyncModernTreasury) -> None:
    books = await open_books(treasury)
    made = await transfer(treasury, books, effective_date=date(2024, 2, 29))
    assert (made.effective_at, made.effective_date) == (datetime(2024, 2, 29, tzinfo=UTC), date(2024, 2, 29))


async def test_an_entry_is_read_with_its_balances_listed_and_annotated(treasury: AsyncModernTreasury) -> None:
    books = await open_books(treasury)
    made = await transfer(treasury, books)
    debit = made.ledger_entries[0]
    assert await treasury.ledger_entries.retrieve(debit.id) == debit
    shown = await treasury.ledger_entries.retrieve(debit.id, show_balances=True)
    assert shown.resulting_ledger_account_balances is not None
    assert shown.resulting_ledger_account_balances.posted_balance.debits == 100
    changed = await treasury.ledger_entries.update(debit.id, metadata={"k": "v"})
    assert (changed.metadata, changed.amount, changed.ledger_account_lock_version) == ({"k": "v"}, 100, 1)
    assert [entry.id for entry in (await treasury.ledger_entries.list()).items] == [
        made.ledger_entries[1].id,
        debit.id,
    ]


@pytest.mark.parametrize("amount", [2**53 + 1, 10**36 - 1, 10**36])
async def test_amounts_to_the_largest_are_exact_both_ways(treasury: AsyncModernTreasury, amount: int) -> None:
    books = await open_books(treasury)
    made = await transfer(treasury, books, amount)
    again = await transfer(treasury, books, amount, status="pending")
    for found in (made, again, await treasury.ledger_transactions.retrieve(made.id)):
        assert [entry.amount for entry in found.ledger_entries] == [amount, amount]
        assert {entry.amount_string for entry in found.ledger_entries} == {str(amount)}
    balances = (await treasury.ledger_accounts.retrieve(books.wallet.id)).balances
    assert (balances.posted_balance.amount, balances.pending_balance.amount) == (amount, 2 * amount)
    assert balances.pending_balance.credits_string == str(2 * amount)
    assert len((await treasury.ledger_transactions.list(amount={"eq": amount})).items) == 2


async def test_the_client_raises_its_own_class_for_each_refusal_and_does_not_repeat_it(
    treasury: AsyncModernTreasury,
) -> None:
    books = await open_books(treasury)
    sent = []

    async def note(request: httpx.Request) -> None:
        sent.append(request.url.path)

    async with AsyncModernTreasury(
        base_url=str(treasury.base_url),
        organization_id=treasury.organization_id,
        api_key=treasury.api_key,
        http_client=httpx.AsyncClient(event_hooks={"request": [note]}),
    ) as client:
        with pytest.raises(UnprocessableEntityError) as unbalanced:
            await client.ledger_transactions.create(ledger_entries=legs(books)[:1])
        with pytest.raises(UnprocessableEntityError) as locked:
            await client.ledger_transactions.create(
                ledger_entries=[{**legs(books)[0], "lock_version": 7}, legs(books)[1]]
            )
        with pytest.raises(NotFoundError) as missing:
            await client.ledgers.retrieve("00000000-0000-0000-0000-000000000000")
    assert len(sent) == 3
    assert unbalanced.value.body["errors"]["refusal"]["code"] == "one_sided"  # type: ignore[index] # decoded JSON
    assert locked.value.body["errors"]["refusal"]["lock_version"] == 0  # type: ignore[index]
    assert missing.value.body["errors"]["code"] == "resource_not_found"  # type: ignore[index]


async def test_a_wrong_key_and_one_that_may_not_write_are_told_apart(
    treasury: AsyncModernTreasury, reader_key: str
) -> None:
    wrong = treasury.with_options(api_key="doppia_wrong")
    with pytest.raises(AuthenticationError):
        await wrong.ping()
    reader = treasury.with_options(api_key=reader_key)
    assert (await reader.ledgers.list()).items == []
    with pytest.raises(PermissionDeniedError):
        await reader.ledgers.create(name="x")


async def test_a_filter_that_is_not_served_is_refused_by_name_and_never_ignored(treasury: AsyncModernTreasury) -> None:
    # Payouts are what the format had before settlements.
    with pytest.raises(UnprocessableEntityError, match="ledger_account_payout_id is not a parameter"):
        await treasury.ledger_entries.list(ledger_account_payout_id="00000000-0000-0000-0000-000000000000")


async def test_the_clients_own_idempotency_key_makes_a_resent_write_happen_once(treasury: AsyncModernTreasury) -> None:
    books = await open_books(treasury)
    sent = []

    async def lose_the_first_answer(response: httpx.Response) -> None:
        sent.append(response.request.headers.get("Idempotency-Key"))
        if len(sent) == 1:
            raise httpx.ReadTimeout("the answer was lost on its way", request=response.request)

    async with AsyncModernTreasury(
        base_url=str(treasury.base_url),
        organization_id=treasury.organization_id,
        api_key=treasury.api_key,
        http_client=httpx.AsyncClient(event_hooks={"response": [lose_the_first_answer]}),
    ) as client:
        made = await transfer(client, books)
    assert len(sent) == 2
    assert sent[0] == sent[1] != None  # noqa: E711 - one chain says that both are there and equal
    assert (await treasury.ledger_transactions.list()).items == [made]


async def test_a_key_of_the_callers_own_replays_the_first_answer(treasury: AsyncModernTreasury) -> None:
    books = await open_books(treasury)
    first = await transfer(treasury, books, idempotency_key="order-1")
    await treasury.ledger_transactions.update(first.id, metadata={"later": "1"})
    assert await transfer(treasury, books, idempotency_key="order-1") == first
    with pytest.raises(UnprocessableEntityError, match="used before"):
        await transfer(treasury, books, 101, idempotency_key="order-1")
