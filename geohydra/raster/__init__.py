"""Pixels: read onto a grid, counted, merged, written."""
