"""The vocabulary that every other package speaks; no I/O."""
