"""DICOM in and out: files, headers, series, geometry, pixels."""
