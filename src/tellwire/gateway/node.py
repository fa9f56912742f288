"""A node: the composition of the gateway's parts.

The only module that knows which clock, which authenticator and which carrier the others work with.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from tellwire.auth import CognitoRules, Jwks, JwtAuthenticator, Secret, StandardRules, TokenCache, cognito_issuer
from tellwire.broadcast import Broadcaster
from tellwire.carriers.hub import Hub
from tellwire.config import Settings
from tellwire.errors import ConfigError
from tellwire.gateway.admission import HandshakeLimiter, Origins, parse_networks
from tellwire.gateway.frames import text_frames
from tellwire.gateway.http_api import HttpApi, Stats
from tellwire.gateway.outbox import OutboxBounds
from tellwire.gateway.server import Server
from tellwire.gateway.sessions import Sessions
from tellwire.gateway.socket import SocketLimits, Sockets
from tellwire.ports import Authenticator, Clock, SystemClock


def make_authenticator(settings: Settings, clock: Clock) -> Authenticator:
    """Return what verifies tokens by these settings.

    Raises:
        ConfigError: they name no way, or more than one.
    """
    match settings.key_sources:
        case []:
            raise ConfigError(
                "no way to verify tokens: set TELLWIRE_JWT_SECRET, TELLWIRE_JWKS_URL or COGNITO_USER_POOL_ID "
                "(or try it out with --dev)"
            )
        case [_]:
            return TokenCache(_jwt_authenticator(settings, clock), clock)
        case several:
            raise ConfigError(f"tokens: got {' and '.join(several)}; allowed: one of them")


def _jwt_authenticator(settings: Settings, clock: Clock) -> JwtAuthenticator:
    if settings.cognito_user_pool_id and settings.cognito_client_id:
        issuer = cognito_issuer(settings.cognito_user_pool_id)
        keys = Jwks(f"{issuer}/.well-known/jwks.json", clock=clock)
        return JwtAuthenticator(keys, CognitoRules(issuer, settings.cognito_client_id), clock)
    rules = StandardRules(settings.jwt_issuer, settings.jwt_audience)
    if settings.jwt_secret is not None:
        return JwtAuthenticator(Secret(settings.jwt_secret), rules, clock)
    return JwtAuthenticator(Jwks(settings.jwks_url, settings.jwks, clock), rules, clock)


class Node:
    """One gateway process.

    `broadcaster` sends to this node's own connections without HTTP, for a program that serves and publishes at once.

    Example:
        async with Node(settings).running() as url:
            ...

    Raises:
        ConfigError: the settings do not fit together.
    """

    def __init__(
        self, settings: Settings, clock: Clock | None = None, authenticator: Authenticator | None = None
    ) -> None:
        self.settings = settings
        self._clock = clock or SystemClock()
        self.hub = Hub(self._clock, text_frames)
        self.broadcaster = Broadcaster(self.hub)
        sessions = Sessions(
            self.hub,
            authenticator or make_authenticator(settings, self._clock),
            self._clock,
            origins=Origins(settings.allowed_origins),
            limiter=HandshakeLimiter(settings.handshakes_per_second, settings.handshake_burst),
            trusted_proxies=parse_networks(settings.trusted_proxies),
        )
        self.sockets = Sockets(
            sessions,
            self._clock,
            SocketLimits(
                settings.idle_timeout_seconds,
                settings.max_connection_seconds,
                OutboxBounds(settings.outbox_max_messages, settings.outbox_max_bytes),
            ),
        )
        self._server = Server(
            self.sockets,
            self._http_api().application(),
            host=settings.host,
            port=settings.port,
            drain_seconds=settings.drain_seconds,
        )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port it listens on, once it does."""
        return self._server.address

    @property
    def authority(self) -> str:
        """The address as it stands in a URL."""
        return self._server.authority

    async def serve(self, started: Callable[["Node"], None] | None = None) -> None:
        """Run until SIGTERM or SIGINT, then let everybody go within `drain_seconds`.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        await self._server.serve(None if started is None else lambda: started(self))

    def stop(self) -> None:
        """Begin to drain, as SIGTERM does."""
        self._server.stop()

    def running(self) -> AbstractAsyncContextManager[str]:
        """Serve inside this event loop, for tests and for programs of their own; gives the HTTP address."""
        return self._server.running()

    def _http_api(self) -> HttpApi:
        return HttpApi(
            self.hub,
            lambda: Stats(len(self.hub), self.sockets.slow_closed),
            lambda: not self._server.is_stopping,
            api_key=self.settings.api_key,
            is_open=self.settings.dev and self.settings.api_key is None,
        )
