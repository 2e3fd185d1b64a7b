"""Compiled loops that several rooms share, resampling, and the list of kernels to compile ahead."""
