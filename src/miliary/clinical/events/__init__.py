"""Adverse events and their grades by CTCAE."""
