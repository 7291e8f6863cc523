"""Join collectors and a writer, and own their lives."""
