"""Users of an API on AWS, for operators: shut out, let in again, deleted. The HTTP API of a gateway has the same.

    from tellwire.aws import shut_out_user
    asyncio.run(shut_out_user("user-1", time.time() + 3600, "Too many uploads"))

The environment is that of a worker; see `engines.aws.environment`.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tellwire.engine import Engine


async def shut_out_user(
    user_id: str, until: float, reason: str = "", *, token_id: str | None = None, issued_before: float | None = None
) -> int:
    """Close a user's connections, and let none open until a time (epoch seconds). Returns the number of closed ones.

    The user reads `reason`. `token_id`: only the token with this `jti`; `issued_before`: only those with an earlier
    `iat`.

    Raises:
        InvalidMessage: an argument is not valid.
        ConfigError: a setting is missing or not valid.
        PublishError: it is not kept, or some connections may still be open.
    """
    from tellwire.shut_out import ShutOut

    entry = ShutOut.of(user_id, until, reason, token_id=token_id, issued_before=issued_before)
    async with _engine() as engine:
        assert engine.shut_outs is not None  # noqa: S101 - this engine has them
        return await engine.shut_outs.shut_out(entry)


async def let_in_user(user_id: str) -> int:
    """End all shut-outs of a user. Returns how many lasted still.

    Raises:
        ConfigError: a setting is missing or not valid.
        PublishError: some may last.
    """
    async with _engine() as engine:
        assert engine.shut_outs is not None  # noqa: S101 - this engine has them
        return await engine.shut_outs.let_in(user_id)


async def delete_user(user_id: str) -> None:
    """Delete everything that is kept of a user in the history. A message that is published meanwhile may stay.

    Raises:
        ConfigError: a setting is missing or not valid.
        PublishError: not all of it is deleted; doing it again does the rest.
    """
    async with _engine() as engine:
        await engine.forget_user(user_id)


@asynccontextmanager
async def _engine() -> "AsyncIterator[Engine]":
    from tellwire.engines.aws.engine import aws_engine  # functions of the API need none of it

    engine = aws_engine(os.environ)
    try:
        yield engine
    finally:
        await engine.close()
