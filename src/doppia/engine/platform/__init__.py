"""What the engine does for API keys and bulk requests."""
