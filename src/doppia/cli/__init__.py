"""The commands of the `doppia` program, one module each."""
