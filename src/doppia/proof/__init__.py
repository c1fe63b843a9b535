"""The recorded form of history: canonical bytes of the log, pure."""
