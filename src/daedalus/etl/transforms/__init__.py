"""Segments in, segments out, one file a transform."""
