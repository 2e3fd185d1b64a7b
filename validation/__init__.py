"""Validation of `miliary` on simulated and real lungs; not part of the package."""
