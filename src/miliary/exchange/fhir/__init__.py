"""Cases as FHIR R4 bundles, and back."""
