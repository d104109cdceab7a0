"""Networks by configuration."""
