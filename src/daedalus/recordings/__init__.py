"""Readers of recorded frames, one file a format."""
