"""Nouns: frozen records of scans, results and cases that every other room shares; no algorithms."""
