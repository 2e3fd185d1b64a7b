"""The only place that knows a file format."""
