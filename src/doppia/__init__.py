"""Doppia: a programmable double-entry ledger behind an HTTP API. Start reading at accounting/ledger/transactions.py."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from doppia.library import BlockingLedgers, LedgerError, Ledgers, credit, debit

__all__ = ["BlockingLedgers", "LedgerError", "Ledgers", "credit", "debit"]


def __getattr__(name: str) -> Any:
    # A command that starts does not wait for what only a caller in the same process needs.
    if name in __all__:
        from doppia import library  # noqa: PLC0415

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
