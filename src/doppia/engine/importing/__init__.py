"""A ledger from its exported log."""
