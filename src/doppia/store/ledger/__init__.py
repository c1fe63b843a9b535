"""Ledgers and what stands in them, in the database."""
