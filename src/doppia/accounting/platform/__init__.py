"""The rules of the platform, which serves all subjects: events and bulk requests."""
