"""The packaged model files, and the card that says which belong together."""
