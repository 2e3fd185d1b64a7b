"""Two scans of one patient: registration, matching, change of burden."""
