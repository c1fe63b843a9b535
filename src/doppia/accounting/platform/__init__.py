"""The rules of what serves all subjects: events and bulk requests."""
