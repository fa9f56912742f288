"""Functions, run as Lambda runs them."""
