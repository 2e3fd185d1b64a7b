"""TNM stage of lung cancer, derived and as written."""
