"""Lung masks made elsewhere: which labels mean lung, and how they lie in a scan."""
