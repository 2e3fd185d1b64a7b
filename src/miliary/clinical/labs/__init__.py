"""Laboratory values: limits, trends, markers, and their course beside the measured burden."""
