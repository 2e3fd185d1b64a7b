"""A small local web app over saved results: slices and slabs of both scans, marks, corrections."""
