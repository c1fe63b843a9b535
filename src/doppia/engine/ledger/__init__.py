"""The commands about ledgers and what stands in them, but for transactions, which are in `engine.posting`."""
