"""What the saved files hold, field for field, and the codec between these records and JSON."""
