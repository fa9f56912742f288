"""The hub of a process that serves sockets: with or without compression."""

from tellwire.carriers.hub import Hub
from tellwire.ports import Clock
from tellwire.server.deflating_socket import DeflatingHub
from tellwire.server.framing import text_frames
from tellwire.server.link import write_ready


def make_hub(clock: Clock, *, compression: bool = False) -> Hub:
    """Return a hub. With `compression` its connections must be those of `Sockets` with its deflater."""
    return DeflatingHub(clock) if compression else Hub(clock, text_frames, write_ready)
