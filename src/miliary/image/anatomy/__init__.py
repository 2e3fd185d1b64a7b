"""Where things are in a chest: lungs, sides, zones, lobes, fissures and vessels."""
