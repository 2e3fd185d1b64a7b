"""Two scans of one patient: registration, matching of nodules, change of the burden."""
