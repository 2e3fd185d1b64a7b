"""Targeted drugs: options, doses against labels, monitoring."""
