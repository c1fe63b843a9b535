"""Stories: plain texts of what happens in a ledger, which an accountant can read, and what plays them."""
