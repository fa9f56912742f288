"""The engine of one process that keeps nothing on disk."""
