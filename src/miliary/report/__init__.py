"""Saved results as a page for a tumor board: shows, and computes nothing clinical."""

from miliary.report.catalog import LANGUAGES
from miliary.report.page import render_report
from miliary.report.write import write_report

__all__ = ["LANGUAGES", "render_report", "write_report"]
