"""The whole record at once: causes, contradictions, gaps, completeness of the report."""
