"""What share of nodules a scan shows, and counts and volumes corrected for what it misses."""
