"""A ledger's log: read, imported, verified."""
