"""Fixtures of the tests of calls to AWS, for those of the engine, too."""

from tests.unit.aws_api.conftest import configure, make_client, start_service

__all__ = ["configure", "make_client", "start_service"]
