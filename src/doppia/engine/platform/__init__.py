"""Writes of keys and bulk requests."""
