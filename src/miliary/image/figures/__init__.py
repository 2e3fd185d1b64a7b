"""Slabs, projections and curves that are saved with a result."""
