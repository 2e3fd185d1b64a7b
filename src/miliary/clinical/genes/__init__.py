"""Oncogenic drivers and how they were tested."""
