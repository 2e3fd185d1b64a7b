"""Numerics on CT volumes: arrays and nouns in, arrays and nouns out; no files, no DICOM, no medicine."""
