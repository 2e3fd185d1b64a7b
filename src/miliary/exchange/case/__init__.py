"""`case.yaml` and `labs.csv` in, `case.json` and `summary.md` out."""
