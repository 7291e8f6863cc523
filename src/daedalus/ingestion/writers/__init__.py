"""Turn events into sealed segments."""
