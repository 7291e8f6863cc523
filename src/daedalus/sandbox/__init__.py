"""A local exchange that speaks real wire protocols, with faults on demand."""
