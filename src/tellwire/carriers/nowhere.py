"""The carrier of a program whose messages are switched off: every publish succeeds, and goes nowhere."""

from tellwire.model import ConnectionInfo, Delivery
from tellwire.publication import Publication
from tellwire.row_errors import RowErrorChunk


class NowhereCarrier:
    """A `Carrier` without connections. Messages are checked as ever, so a wrong one is still noticed."""

    async def deliver(self, publication: Publication) -> Delivery:
        return Delivery()

    async def connections(self, user_id: str) -> list[ConnectionInfo]:
        return []

    async def disconnect(self, connection_id: str) -> bool:
        return False

    async def add_row_errors(self, chunk: RowErrorChunk) -> None:
        """Forget them."""
