"""The page on paper: printed by an installed Chromium, or by WeasyPrint where that is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from importlib import import_module
from pathlib import Path

from miliary.errors import InputError

BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge"),
    "microsoft-edge",
)
ENV_BROWSER = "MILIARY_CHROMIUM"
_LIMIT_SECONDS = 120

_REMEDY = (
    "a PDF needs Chromium (or Chrome) on this machine, named by MILIARY_CHROMIUM where it is not found, "
    "or WeasyPrint in this Python; without either, open the page in a browser and print it"
)


def find_browser() -> str | None:
    """Path of an installed browser that can print, or None."""
    stated = os.environ.get(ENV_BROWSER)
    if stated:
        return stated if Path(stated).is_file() else None
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def render_pdf(html: str) -> bytes:
    """Print a page as PDF.

    Parameters
    ----------
    html : str
        A whole page that needs no other file.

    Returns
    -------
    bytes
        A PDF file.

    Raises
    ------
    InputError
        If nothing that prints is installed, or it fails.
    """
    browser = find_browser()
    if browser is not None:
        return _print_with_browser(browser, html)
    try:
        weasyprint = import_module("weasyprint")
    except (ImportError, OSError):
        raise InputError(_REMEDY) from None
    pdf: bytes = weasyprint.HTML(string=html).write_pdf()
    return pdf


def _print_with_browser(browser: str, html: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="miliary-pdf-") as folder:
        page, pdf = Path(folder) / "report.html", Path(folder) / "report.pdf"
        page.write_text(html, encoding="utf-8")
        command = [
            browser,
            "--headless=new",
            "--disable-gpu",
            "--disable-extensions",
            "--disable-background-networking",
            "--no-first-run",
            "--no-pdf-header-footer",
            f"--user-data-dir={folder}/profile",
            f"--print-to-pdf={pdf}",
            page.as_uri(),
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            # Chromium refuses its sandbox to root; the page is ours and holds no script.
            command.insert(1, "--no-sandbox")
        try:
            done = subprocess.run(  # noqa: S603  the browser that was found, on a file of our own
                command, capture_output=True, timeout=_LIMIT_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InputError(f"the browser could not print ({type(error).__name__}); {_REMEDY}") from error
        if not pdf.is_file():
            raise InputError(f"the browser printed nothing (exit code {done.returncode}); {_REMEDY}")
        return pdf.read_bytes()
