"""What the service can do: each function is one database transaction that locks, decides and records."""
