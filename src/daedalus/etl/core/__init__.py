"""What to read and write, and the executor that drives transforms."""
