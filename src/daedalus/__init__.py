"""Daedalus records crypto markets and turns ticks into features and bars."""

__version__ = "0.1.0"
