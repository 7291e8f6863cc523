"""From exchanges to bronze segments."""
