"""Laboratory values: limits, trends, markers, and their course with the measured burden."""
