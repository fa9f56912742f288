"""The application's `get_token`, and its failures in our terms."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable

from tellwire.client.actions import Why
from tellwire.client.socket import TokenIn, can_travel
from tellwire.errors import TellwireError

GetToken = Callable[[Why], str | Awaitable[str]]
"""Returns a token, or an awaitable of one. Its argument is the purpose: `connect`, for every attempt; `refused`, when
the last token was refused or has expired, so that one in store will not do; `renew`, shortly before one expires."""

logger = logging.getLogger("tellwire.client")


class NoToken(Exception):
    """There is no token. The text says why, and holds nothing of a token."""


async def ask_token(get_token: GetToken | None, why: Why, token_in: TokenIn) -> str:
    """Return a token that can be sent; empty where the application has none, and the server knows its user otherwise.
    It takes as long as it takes: whoever waits has a deadline.

    Raises:
        NoToken: `get_token` failed, or returned something else.
    """
    if get_token is None:
        if why == "renew":
            raise NoToken("there is none to renew")  # the server ends the connection, and knows its user by the next
        return ""
    try:
        token = get_token(why)
        if inspect.isawaitable(token):
            token = await token
    except (Exception, asyncio.CancelledError) as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        logger.warning("get_token(%r) failed", why, exc_info=error)
        raise NoToken(_words(error)) from error
    if not can_travel(token, token_in):
        raise NoToken("get_token: got none that can be sent; allowed: a token as a string")
    return token


def _words(error: BaseException) -> str:
    if isinstance(error, TellwireError):
        return str(error)
    # Its text may hold secrets; the log has it.
    return f"get_token failed: {type(error).__name__}"
