"""Messages of a job without their words, for when they cannot be sent whole. Pure.

A user can do without the text of a last state, but not without the state: silence looks like a failure.
"""

from typing import Any, Final

from msgspec.structs import replace

from tellwire.errors import GatewayRefused, InvalidMessage, MessageTooBig, TellwireError
from tellwire.messages import ErrorMessage, Message, UploadProgressMessage
from tellwire.text import shortened

_SHORT_CHARACTERS: Final = 100

# The gateway's own answers for a message that is not valid or too big, and a proxy's for a big body.
_REFUSED: Final = frozenset({400, 413, 422})


def is_about_content(error: TellwireError) -> bool:
    """Return True if a message was not published because of its content, so that a shorter one may be."""
    match error:
        case InvalidMessage() | MessageTooBig():
            return True
        case GatewayRefused(status=status):
            return status in _REFUSED
        case _:
            return False


def essentials_of(message: Message) -> Message | None:
    """Return a message of a job without its words; None: it has nothing that could be left out."""
    match message:
        case UploadProgressMessage(data=data):
            brief = replace(
                data,
                file_name=shortened(data.file_name, _SHORT_CHARACTERS),
                message=(data.status or "").capitalize(),
                row_errors=None,
            )
            return replace(message, data=brief)
        case ErrorMessage(data=data):
            text = shortened(data.message, _SHORT_CHARACTERS)
            return replace(message, data=replace(data, message=text, details=_upload_in(data.details)))
        case _:
            return None


def _upload_in(details: Any) -> Any:
    return {"uploadId": details["uploadId"]} if isinstance(details, dict) and "uploadId" in details else None
