"""Response by RECIST 1.1."""
