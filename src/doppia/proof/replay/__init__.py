"""The fold of a log by the rules."""
