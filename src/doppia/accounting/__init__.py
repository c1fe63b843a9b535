"""The rules of double entry: pure functions on plain values, standard library only."""
