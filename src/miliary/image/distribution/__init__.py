"""How nodules are distributed over the lungs, and how much of the lung they involve."""
