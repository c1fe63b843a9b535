"""The embedded PostgreSQL server: it comes from a wheel, and runs as a child of Doppia."""
