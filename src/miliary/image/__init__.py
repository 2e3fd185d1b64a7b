"""Numerics on CT volumes: arrays and records in and out; no files, no DICOM, no clinical rules.

The rooms, the most basic last. A room imports only from rooms of a later step of the order below the table;
rooms of one step do not import each other. import-linter checks this.

================  ===================================================================================
``figures``       slabs, projections and curves that are saved with a result
``simulate``      simulated chest CTs and pairs of scans with exact truth
``pair``          two scans of one patient: registration, matching, change of burden
``distribution``  how nodules are distributed over the lungs, and how much lung they involve
``sensitivity``   what share of nodules a scan shows, and counts corrected for what it misses
``lesions``       lesions of 8 mm and more
``nodules``       find, score and measure nodules of 1 to 8 mm
``quality``       noise and blur of a scan
``anatomy``       lungs, sides, zones, lobes, fissures and vessels
``kernels``       compiled loops that several rooms share
================  ===================================================================================

Order: ``figures | simulate | pair`` > ``distribution | sensitivity | lesions`` > ``nodules`` > ``quality`` >
``anatomy`` > ``kernels``. ``weights`` holds the trained models as data.

Throughout, arrays are indexed (z, y, x) with z towards the head; positions in a lung box are (z, y, x) in
millimeters from the center of its first voxel; patient coordinates are LPS (x, y, z) in millimeters.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def _provide_kernel_cache() -> None:
    """Set a folder for compiled kernels where neither the package nor the home folder can be written.

    numba keeps them beside the source or in the user's cache and refuses to load where it can do
    neither, as in a container with a read-only file system. NUMBA_CACHE_DIR, where set, is kept.
    """
    # A user without a home has "~" left as it is, which is no folder.
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111
    while not home.exists():
        home = home.parent
    if not (os.access(Path(__file__).parent, os.W_OK) or os.access(home, os.W_OK)):
        user = os.getuid() if hasattr(os, "getuid") else "all"
        os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"miliary-kernels-{user}"))


_provide_kernel_cache()
