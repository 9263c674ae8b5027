"""Settings of policies."""
