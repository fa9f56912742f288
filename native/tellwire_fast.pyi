"""The types of the module; what it does is in its C."""

class Link:
    fd: int
    is_ready: bool
    expires_at: float
    last_active_at: float

VERSION: int

def write_ready(connections: list[Link], frames: bytes, now: float, active_at: float, /) -> list[tuple[Link, int]]: ...
