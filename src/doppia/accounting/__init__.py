"""The rules of double entry: pure functions on plain values, which need the standard library alone."""
