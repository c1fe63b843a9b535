"""Writes to ledgers and what stands in them."""
