"""HTTP in, HTTP out: decode, call the engine or read the store, encode."""
