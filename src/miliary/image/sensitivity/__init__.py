"""Share of nodules that a scan shows, and counts and volumes corrected for those it misses."""
