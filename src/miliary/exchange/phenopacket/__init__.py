"""Cases as GA4GH Phenopackets v2, and back."""
