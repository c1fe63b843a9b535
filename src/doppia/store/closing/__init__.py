"""Settlements in the database."""
