"""Commands of the app, by name."""
