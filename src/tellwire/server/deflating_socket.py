"""WebSockets that compress messages if their client wants it, and the hub for them.

    open ─▶ extensions.agree ─▶ 101 ─▶ the parser that inflates │ the parser of those that have not asked
    hub ─▶ deflate.Frames ─▶ the form for this client ─▶ outbox, or the write to those that are ready

They are classes of their own, so that a server without compression has neither their fields nor their questions.
"""

from typing import Any

from tellwire import limits
from tellwire.carriers.hub import Hub, Sent
from tellwire.ports import Clock
from tellwire.server.deflate import NOT_COMPRESSED, Deflater, Frames, join
from tellwire.server.extensions import Agreement, agree
from tellwire.server.handshake import UpgradeRequest
from tellwire.server.inflating_parser import InflatingParser
from tellwire.server.link import write_ready
from tellwire.server.parser import FrameParser
from tellwire.server.socket import Connection


class DeflatingConnection(Connection):
    """A connection that takes frames in several forms. Its `window_bits` choose among them."""

    __slots__ = ("_agreement", "_deflater", "window_bits")

    def __init__(self, deflater: Deflater, *shared: Any) -> None:
        super().__init__(*shared)
        self._deflater = deflater
        self._agreement: Agreement | None = None
        self.window_bits = NOT_COMPRESSED

    def send(self, frames: bytes | Frames, now: float, key: str | None = None, *, is_final: bool = False) -> Sent:
        if not isinstance(frames, bytes):
            frames = frames.form(self.window_bits)
        return super().send(frames, now, key, is_final=is_final)

    def send_text(self, payload: bytes, now: float) -> Sent:
        return self.send(self._deflater.frames(payload), now)

    def _extend(self, request: UpgradeRequest) -> None:
        self._agreement = agree(request.headers.get("sec-websocket-extensions"))

    @property
    def _extensions(self) -> str | None:
        return None if self._agreement is None else self._agreement.header

    def _new_parser(self) -> FrameParser:
        if self._agreement is None:
            return super()._new_parser()
        self.window_bits = self._agreement.window_bits
        return InflatingParser(limits.MAX_MESSAGE_BYTES, limits.MAX_FRAME_BYTES)


class DeflatingHub(Hub):
    """A hub of `DeflatingConnection`s."""

    def __init__(self, clock: Clock) -> None:
        self.deflater = Deflater()
        super().__init__(clock, self.deflater.frames, write_ready_in_forms, join)


def write_ready_in_forms(
    connections: list[DeflatingConnection], frames: bytes | Frames, now: float, active_at: float
) -> list[Any]:
    """Write frames at once to the connections that are ready, each in its form. Return the others."""
    if isinstance(frames, bytes):
        return write_ready(connections, frames, now, active_at)
    by_window: dict[int, list[DeflatingConnection]] = {}
    for connection in connections:
        by_window.setdefault(connection.window_bits, []).append(connection)
    behind: list[Any] = []
    for window_bits, some in by_window.items():
        behind += write_ready(some, frames.form(window_bits), now, active_at)
    return behind
