"""Hostile input in numbers: seeds, mutations that know the formats, a runner with limits (`run.py`)."""
