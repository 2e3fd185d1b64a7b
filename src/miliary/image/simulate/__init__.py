"""Simulated chest CTs with exact truth, and simulated nodules in real scans.

Everything is seeded; the same seed and parameters give the same scan bit for bit.
"""

from __future__ import annotations

from miliary.image.simulate.acquisition import ScanProtocol
from miliary.image.simulate.chest import TRUTH_COLUMN_NAMES, SimulatedScan, demo_case, simulate_scan
from miliary.image.simulate.chest_anatomy import AnatomyParameters, HardNegatives, draw_anatomy
from miliary.image.simulate.insertion import GaussianBlur, insert_nodules
from miliary.image.simulate.nodule_population import (
    PATTERNS,
    SHAPES,
    DominantLesion,
    NodulePopulation,
    draw_positions,
)
from miliary.image.simulate.other_findings import (
    ARTIFACTS,
    BESIDE,
    DISEASES,
    FINDING_COLUMN_NAMES,
    OtherFindings,
)
from miliary.image.simulate.scan_pair import DEMO_DAYS, DiseaseCourse, SimulatedPair, demo_pair, simulate_pair

__all__ = [
    "ARTIFACTS",
    "BESIDE",
    "DEMO_DAYS",
    "DISEASES",
    "FINDING_COLUMN_NAMES",
    "PATTERNS",
    "SHAPES",
    "TRUTH_COLUMN_NAMES",
    "AnatomyParameters",
    "DiseaseCourse",
    "DominantLesion",
    "GaussianBlur",
    "HardNegatives",
    "NodulePopulation",
    "OtherFindings",
    "ScanProtocol",
    "SimulatedPair",
    "SimulatedScan",
    "demo_case",
    "demo_pair",
    "draw_anatomy",
    "draw_positions",
    "insert_nodules",
    "simulate_pair",
    "simulate_scan",
]
