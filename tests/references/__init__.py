"""Naive references, written from the catalogue and independent of the kernels."""
