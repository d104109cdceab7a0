"""Declarative geospatial deep learning: one config, one plan, run here or on a cluster."""

__version__ = "0.1.0"
