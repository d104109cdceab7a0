"""A bundle that answers requests."""
