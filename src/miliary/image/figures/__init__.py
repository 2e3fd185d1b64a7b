"""Render slabs, projections and curves that are saved with a result."""
