"""Stories: scenarios as plain text that an accountant can read, and what plays them."""
