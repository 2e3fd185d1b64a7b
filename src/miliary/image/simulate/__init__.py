"""Simulated chest CTs with exact truth, and simulated nodules in real scans.

Everything is seeded; the same seed and parameters give the same scan bit for bit.
"""

from __future__ import annotations

from miliary.image.simulate.acquisition import ScanProtocol
from miliary.image.simulate.anatomy import AnatomyParameters, HardNegatives, draw_anatomy
from miliary.image.simulate.chest import TRUTH_COLUMN_NAMES, SimulatedScan, demo_case, simulate_scan
from miliary.image.simulate.insertion import GaussianBlur, insert_nodules
from miliary.image.simulate.nodules import (
    PATTERNS,
    SHAPES,
    DominantLesion,
    NodulePopulation,
    draw_positions,
)

__all__ = [
    "PATTERNS",
    "SHAPES",
    "TRUTH_COLUMN_NAMES",
    "AnatomyParameters",
    "DominantLesion",
    "GaussianBlur",
    "HardNegatives",
    "NodulePopulation",
    "ScanProtocol",
    "SimulatedScan",
    "demo_case",
    "draw_anatomy",
    "draw_positions",
    "insert_nodules",
    "simulate_scan",
]
