"""The work that the service does without being asked."""
