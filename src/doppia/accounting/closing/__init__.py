"""The rules of closing an account's period: settlements."""
