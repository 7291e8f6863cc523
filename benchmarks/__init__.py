"""One script a promise: each ``bench_*.py`` here has a ``main() -> None`` that prints its figures."""
