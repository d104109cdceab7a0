"""Sweeps: what is varied, what is wanted of it, and the search for better values."""
