"""Turn one exchange connection each into events."""
