"""`$default` with its own message type: `{"type": "rename_moc", "data": {"mocId": "…", "name": "…"}}`."""

from typing import Any

from tellwire import InvalidMessage, Message, Sender, create_message
from tellwire.aws.handlers import default

__all__ = ["default"]


@default.on_message("rename_moc")
def rename(data: Any, sender: Sender) -> Message:
    """Return the answer to the client. The handler validates the data: tellwire does not know its form."""
    match data:
        case {"mocId": str(moc_id), "name": str(name)} if name:
            return create_message("moc_renamed", {"mocId": moc_id, "name": name, "by": sender.user_id})
        case _:
            raise InvalidMessage("data", data, "a mocId and a name")
