"""All the SQL, rows in and rows out, and the embedded database's supervisor."""
