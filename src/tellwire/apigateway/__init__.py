"""A local API Gateway."""
