"""The rules of what posting needs: accounts, balances, transactions, categories, monitors."""
