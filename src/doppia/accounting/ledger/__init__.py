"""The rules of ledgers: accounts, balances, transactions, categories, monitors, statements."""
