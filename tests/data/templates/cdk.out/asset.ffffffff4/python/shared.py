"""A module of a layer, for tests."""
