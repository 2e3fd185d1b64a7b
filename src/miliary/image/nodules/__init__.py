"""Find, score and measure nodules of 1 to 8 mm."""
