"""Predictions held against the ground, strip by strip."""
