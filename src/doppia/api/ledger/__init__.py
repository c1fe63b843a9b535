"""Ledgers and what stands in them over HTTP."""
