"""Training of the packaged weights; see train.py."""
