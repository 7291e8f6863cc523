"""The command line: the only place that turns settings into objects."""
