"""How nodules are distributed over the lungs, and how much lung they involve."""
