"""How people read a lake, and how they make sure of it."""
