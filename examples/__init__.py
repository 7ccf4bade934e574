"""Models to start from."""
