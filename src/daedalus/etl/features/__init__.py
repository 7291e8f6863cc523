"""Features as causal folds, one file a family."""
