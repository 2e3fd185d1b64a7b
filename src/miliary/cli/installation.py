"""What an installation lacks: codecs, model files, fonts, a browser, the viewer's bundle, room for caches."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from miliary.errors import MiliaryError

# Transfer syntaxes that scanners and archives write, and what they are called.
_SYNTAXES = {
    "1.2.840.10008.1.2.5": "RLE",
    "1.2.840.10008.1.2.4.57": "JPEG lossless",
    "1.2.840.10008.1.2.4.70": "JPEG lossless",
    "1.2.840.10008.1.2.4.50": "JPEG baseline",
    "1.2.840.10008.1.2.4.80": "JPEG-LS",
    "1.2.840.10008.1.2.4.81": "JPEG-LS near-lossless",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
}
_EXTRAS = {"pandas": "table", "docx": "docx", "weasyprint": "pdf"}
_LEAST_MEMORY_GB, _LEAST_DISK_GB = 4.0, 2.0


@dataclass(frozen=True)
class InstallationCheck:
    """One thing looked at.

    Parameters
    ----------
    name : str
    is_fine : bool
    is_needed : bool
        Whether scans cannot be measured without it; the rest some users need.
    says : str
        What was found, and what to do where something is missing.
    """

    name: str
    is_fine: bool
    is_needed: bool
    says: str


def check_installation() -> tuple[InstallationCheck, ...]:
    """Look at everything that a run may find missing; opens no scan and writes nothing that stays.

    Returns
    -------
    tuple of InstallationCheck
        What is needed first.
    """
    looked: tuple[tuple[str, bool, Callable[[], tuple[bool, str]]], ...] = (
        ("codecs", True, _check_codecs),
        ("model files", True, _check_weights),
        ("kernel cache", True, _check_cache),
        ("memory", True, _check_memory),
        ("temporary disk", True, _check_disk),
        ("viewer bundle", False, _check_bundle),
        ("printing", False, _check_printing),
        ("Japanese font", False, _check_font),
        ("extras", False, _check_extras),
    )
    found = []
    for name, is_needed, look in looked:
        try:
            is_fine, says = look()
        except (MiliaryError, OSError, ImportError) as error:
            is_fine, says = False, f"cannot be looked at ({type(error).__name__}); install the package anew"
        found.append(InstallationCheck(name, is_fine, is_needed, says))
    return tuple(found)


def _check_codecs() -> tuple[bool, str]:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    lacking = sorted({name for uid, name in _SYNTAXES.items() if not get_decoder(UID(uid)).is_available})
    if lacking:
        return False, f"no decoder for {', '.join(lacking)}; install the package with its dependencies anew"
    return True, f"every one of {len(_SYNTAXES)} compressed transfer syntaxes can be decoded"


def _check_weights() -> tuple[bool, str]:
    from miliary.image.weights.card import read_card

    read_card()
    return True, "all there, tied to one threshold and one training"


def _check_cache() -> tuple[bool, str]:
    import miliary.image  # noqa: F401  it chooses where compiled loops go

    place = os.environ.get("NUMBA_CACHE_DIR")
    here = Path(place) if place else Path(__file__).resolve().parents[1]
    parent = next((one for one in (here, *here.parents) if one.exists()), here)
    if not os.access(parent, os.W_OK):
        return False, "compiled loops cannot be kept, so every run compiles them anew; set NUMBA_CACHE_DIR"
    return True, "compiled loops are kept" + (" in NUMBA_CACHE_DIR" if place else " beside the package")


def _check_memory() -> tuple[bool, str]:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return True, "how much there is cannot be told on this system"
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    says = f"{size:.0f} GB"
    return size >= _LEAST_MEMORY_GB, says if size >= _LEAST_MEMORY_GB else f"{says}; large scans need 4 GB"


def _check_disk() -> tuple[bool, str]:
    free = shutil.disk_usage(tempfile.gettempdir()).free / 2**30
    says = f"{free:.0f} GB free"
    return free >= _LEAST_DISK_GB, says if free >= _LEAST_DISK_GB else f"{says}; make room for 2 GB"


def _check_bundle() -> tuple[bool, str]:
    from miliary.viewer.server import has_bundle

    if has_bundle():
        return True, "volumes are drawn by the graphics card"
    return False, "the part for the graphics card was not built; slices are shown without it (make viewer)"


def _check_printing() -> tuple[bool, str]:
    from miliary.report.pdf import find_browser

    if find_browser() is not None:
        return True, "report --pdf prints with the browser that is installed"
    if importlib.util.find_spec("weasyprint") is not None:
        return True, "report --pdf prints with WeasyPrint"
    return False, "report --pdf finds nothing that prints; install Chromium, or the extra 'pdf'"


def _check_font() -> tuple[bool, str]:
    program = shutil.which("fc-list")
    if program is None:
        return True, "fonts cannot be listed on this system; a browser brings its own choice"
    listed = subprocess.run(  # noqa: S603  a fixed program without arguments of a user
        [program, ":lang=ja", "family"], capture_output=True, text=True, check=False, timeout=20
    )
    if listed.stdout.strip():
        return True, "a Japanese page can be printed"
    return False, "none is installed: a Japanese page prints boxes; install one such as Noto Sans CJK JP"


def _check_extras() -> tuple[bool, str]:
    lacking = [extra for module, extra in _EXTRAS.items() if importlib.util.find_spec(module) is None]
    if not lacking:
        return True, "all installed"
    return True, f"not installed: {', '.join(lacking)} (for some commands only)"
