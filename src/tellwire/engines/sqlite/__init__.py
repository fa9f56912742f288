"""The engine of one process that keeps streams in an SQLite file."""
