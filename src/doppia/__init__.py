"""Doppia: a programmable double-entry ledger behind an HTTP API. Start reading at accounting/ledger/transactions.py."""
