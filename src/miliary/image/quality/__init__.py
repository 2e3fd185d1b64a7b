"""How noisy and how blurred a scan is, from the scan itself."""
