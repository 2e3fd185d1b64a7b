"""Compiled loops that several rooms share, and the list of all loops that a first run compiles."""
