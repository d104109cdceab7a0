"""Polygons: read, burnt into pixels, traced from pixels."""
