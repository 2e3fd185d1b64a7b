"""Medicine: a case in, assessments out; no pixels and no files of the user."""
