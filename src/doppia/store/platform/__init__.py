"""Organizations, events and bulk requests in the database."""
