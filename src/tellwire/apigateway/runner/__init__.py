"""Python handlers, run as Lambda runs them."""
