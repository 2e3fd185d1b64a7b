"""Measure miliary lung disease on chest CT."""

__version__ = "0.1.0"
