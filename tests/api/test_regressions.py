"""What once went wrong over HTTP, each as one plain request."""

import httpx2
import pytest

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("date", ["2026-W01-1", "20260101", "2026-1-1", "٢٠٢٦-01-01", "2026-02-30"])
async def test_a_date_is_a_year_a_month_and_a_day_in_bodies_and_filters(client: httpx2.AsyncClient, date: str) -> None:
    ledger = (await client.post("/api/ledgers", json={"name": "books"})).json()["id"]
    cash, wallet = [
        (
            await client.post(
                "/api/ledger_accounts",
                json={"name": side, "ledger_id": ledger, "currency": "PHP", "normal_balance": side},
            )
        ).json()["id"]
        for side in ("debit", "credit")
    ]
    entries = [
        {"ledger_account_id": cash, "direction": "debit", "amount": 1},
        {"ledger_account_id": wallet, "direction": "credit", "amount": 1},
    ]
    written = await client.post("/api/ledger_transactions", json={"effective_date": date, "ledger_entries": entries})
    listed = await client.get("/api/ledger_transactions", params={"effective_date[eq]": date})

    for answer, parameter in ((written, "effective_date"), (listed, "effective_date[eq]")):
        assert answer.status_code == 422
        assert answer.json()["errors"]["message"] == f"{parameter} must be a date such as 2026-03-31."


@pytest.mark.parametrize("name", ["metadata", "metadata[]"])
async def test_a_metadata_filter_without_a_key_is_told_how_it_is_written(client: httpx2.AsyncClient, name: str) -> None:
    answer = await client.get("/api/ledgers", params={name: "x"})

    assert answer.status_code == 422
    assert answer.json()["errors"]["message"] == f"{name} is written metadata[KEY]=VALUE."


async def test_a_lock_version_below_zero_is_no_lock_version(client: httpx2.AsyncClient) -> None:
    entries = [
        {
            "ledger_account_id": "65a1b2c3-0000-8000-8400-000000000400",
            "direction": "debit",
            "amount": 1,
            "lock_version": -1,
        }
    ]
    answer = await client.post("/api/ledger_transactions", json={"ledger_entries": entries})

    assert answer.status_code == 422
    assert answer.json()["errors"]["parameter"] == "ledger_entries[0].lock_version"


async def test_times_of_answers_are_described_as_times(client: httpx2.AsyncClient) -> None:
    schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]

    for name in ("LedgerObject", "AccountObject", "TransactionObject", "EntryObject"):
        assert schemas[name]["properties"]["created_at"] == {"type": "string", "format": "date-time"}
