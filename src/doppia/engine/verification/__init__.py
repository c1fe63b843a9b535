"""Whether the tables of a ledger follow from its log."""
