"""The door that every token goes through: its verification, and then the list of those who are shut out."""

from tellwire.auth.cache import TokenCache
from tellwire.errors import TokenInvalid
from tellwire.model import Identity
from tellwire.ports import Authenticator, ShutOuts


class NoTokens:
    """An `Authenticator` of a gateway that knows its users in other ways."""

    async def authenticate(self, token: str) -> Identity:
        raise TokenInvalid("this gateway takes no tokens")


class Gatekeeper:
    """An `Authenticator` that refuses who is shut out: at a handshake, at `auth`, and at a download alike."""

    def __init__(self, authenticator: Authenticator, shut_outs: ShutOuts | None) -> None:
        self._authenticator = authenticator
        # Another authenticator is the program's own, and may wait.
        self._at_once = authenticator if isinstance(authenticator, TokenCache) else None
        self._shut_outs = shut_outs

    async def authenticate(self, token: str) -> Identity:
        """Return the identity in a token that is valid, and not shut out. See `Authenticator`.

        Raises:
            UserShutOut: its user is shut out, or the token is.
            PublishError: nobody knows, just now.
        """
        identity = await self._authenticator.authenticate(token)
        await self.admit(identity)
        return identity

    async def admit(self, identity: Identity) -> None:
        """Admit a user who is known without a token, unless they are shut out.

        Raises:
            UserShutOut: the user is shut out.
            PublishError: nobody knows, just now.
        """
        if self._shut_outs is not None:
            await self._shut_outs.admit(identity)

    def authenticate_at_once(self, token: str) -> Identity | None:
        """Return the identity in a token if nothing must be waited for; None: `authenticate` must be asked.

        Raises:
            TokenRefused: the token is not valid.
        """
        identity = None if self._at_once is None else self._at_once.authenticate_at_once(token)
        if identity is None or self._shut_outs is None or self._shut_outs.admits_at_once(identity):
            return identity
        return None
