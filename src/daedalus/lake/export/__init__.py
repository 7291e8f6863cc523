"""Exports: what was recorded, in the files that other programs read."""
