"""The functions of `tellwire.aws` for synchronous code, beside those of `tellwire.sync`."""

from tellwire.aws import resuming
from tellwire.background import run
from tellwire.model import Delivery

__all__ = ["resume_broadcast"]


def resume_broadcast(token: str) -> Delivery:
    """Go on with a broadcast that had no time for all connections. See `tellwire.aws.resume_broadcast`."""
    return run(resuming.resume_broadcast(token))
