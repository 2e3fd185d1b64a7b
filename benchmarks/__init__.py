"""Time and memory of `miliary`, and of other ways to find small nodules on the same volume."""
