"""Helpers of the executor: state between runs."""
