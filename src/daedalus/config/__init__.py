"""The application's settings: file, environment and flags, checked and typed."""
