"""Books kept through the official client."""

from typing import Any, NamedTuple

from modern_treasury import AsyncModernTreasury
from modern_treasury.types import Ledger, LedgerAccount, LedgerTransaction
from modern_treasury.types.shared_params import LedgerEntryCreateRequest


class TreasuryBooks(NamedTuple):
    """A ledger with a debit-normal and a credit-normal account."""

    ledger: Ledger
    cash: LedgerAccount
    wallet: LedgerAccount


async def open_books(treasury: AsyncModernTreasury) -> TreasuryBooks:
    ledger = await treasury.ledgers.create(name="books")
    cash = await treasury.ledger_accounts.create(
        name="cash", ledger_id=ledger.id, currency="PHP", normal_balance="debit"
    )
    wallet = await treasury.ledger_accounts.create(
        name="wallet", ledger_id=ledger.id, currency="PHP", normal_balance="credit"
    )
    return TreasuryBooks(ledger, cash, wallet)


def legs(books: TreasuryBooks, amount: int = 100) -> list[LedgerEntryCreateRequest]:
    return [
        {"ledger_account_id": books.cash.id, "direction": "debit", "amount": amount},
        {"ledger_account_id": books.wallet.id, "direction": "credit", "amount": amount},
    ]


async def transfer(
    treasury: AsyncModernTreasury, books: TreasuryBooks, amount: int = 100, **fields: Any
) -> LedgerTransaction:
    return await treasury.ledger_transactions.create(
        **{"ledger_entries": legs(books, amount), "status": "posted", **fields}
    )


async def listed(pages: Any) -> list[str]:
    """Return the ids of all rows of all pages."""
    return [row.id async for row in pages]
