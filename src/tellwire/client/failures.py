"""The reason of a handshake without an answer, in words for people. Pure."""

import os
import re
import ssl
from socket import gaierror, herror
from typing import Final

from websockets.exceptions import InvalidMessage, InvalidProxy

_ERRNO: Final = re.compile(r"\[Errno (\d+)\]")


def reason_of(error: Exception) -> str:
    """Return the reason in words, without addresses and secrets."""
    match error:
        case OSError():
            return _reason_of_system(error)
        case InvalidProxy():
            # Its text has the proxy's address, and maybe a password in it.
            return "the address of the proxy is not valid"
        case InvalidMessage() if not isinstance(error.__cause__, EOFError):
            return "the answer is not HTTP; is it ws:// where it should be wss://, or the other way round?"
        case EOFError() | InvalidMessage():
            return "the connection was closed without an answer to the handshake"
    return str(error) or type(error).__name__


def _reason_of_system(error: OSError) -> str:
    match error:
        # The numbers of TLS and of name resolution are not the system's.
        case ssl.SSLCertVerificationError():
            return f"certificate verify failed: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {(error.reason or str(error)).lower().replace('_', ' ')}"
        case gaierror() | herror():
            return (error.strerror or str(error)).lower()
    # asyncio's text has one line for each address that it tried, with the address in it.
    numbers = [error.errno] if error.errno else [int(number) for number in _ERRNO.findall(str(error))]
    if numbers:
        return os.strerror(numbers[-1]).lower()
    return str(error) or "the connection was reset"
