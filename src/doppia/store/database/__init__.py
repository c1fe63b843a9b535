"""The machinery of the database: connections, migrations, lists."""
