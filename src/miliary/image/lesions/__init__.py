"""Find, outline and measure lesions of 8 mm and more."""
