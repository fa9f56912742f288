"""The setting `TELLWIRE` of a Django project, checked.

The environment of a process comes first: settings fill in the variables that it does not have, so a deployment may
still set `TELLWIRE_URL` or `TELLWIRE_DISABLED` for all its programs.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from django.conf import settings
from django.utils.module_loading import import_string
from msgspec import Struct

from tellwire.errors import ConfigError, shown
from tellwire.producer import carrier_from_environment

UserId = Callable[[Any], object]

_OWN: Final = (
    ("TELLWIRE_URL", "url", ()),
    ("TELLWIRE_API_KEY", "api_key", ("TELLWIRE_API_KEY_FILE",)),
    ("TELLWIRE_JWT_SECRET", "jwt_secret", ("TELLWIRE_JWT_SECRET_FILE", "TELLWIRE_JWKS_URL")),
)
"""A variable, the setting that fills it in, and variables that stand in for it."""

_KINDS: Final[Mapping[str, tuple[Any, str]]] = {
    **dict.fromkeys(("url", "public_url", "api_key", "jwt_secret"), (str, "a text")),
    "token_ttl_seconds": (int | float, "a number of seconds"),
    "disabled": (bool, "True or False"),
}


class Configuration(Struct, frozen=True, forbid_unknown_fields=True, rename="upper"):
    """The setting `TELLWIRE`. `user` names a function that returns the id of a Django user; None: the primary key."""

    url: str = ""
    public_url: str = ""
    api_key: str = ""
    jwt_secret: str = ""
    token_ttl_seconds: float = 3600
    user: str | UserId | None = None
    disabled: bool = False

    @property
    def address(self) -> str:
        """The gateway's address for browsers."""
        return (self.public_url or self.url).rstrip("/")

    @property
    def secret(self) -> str:
        """The secret of tokens: with `DEBUG` and none of its own, that of `tellwire serve --dev`."""
        if not self.jwt_secret and settings.DEBUG:
            from tellwire.auth import development_secret  # it makes a file, for those who need it

            return development_secret()
        return self.jwt_secret

    def variables(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of producers and gateways that the environment does not have."""
        own = {name: getattr(self, field) for name, field, others in _OWN if not any(map(environ.get, (name, *others)))}
        own["TELLWIRE_DISABLED"] = "1" if self.disabled and "TELLWIRE_DISABLED" not in environ else ""
        return {name: value for name, value in own.items() if value}


def configuration() -> Configuration:
    """Return the setting `TELLWIRE`.

    Raises:
        ConfigError: it is not as it should be.
    """
    given = getattr(settings, "TELLWIRE", {})
    names = [name.upper() for name in Configuration.__struct_fields__]
    if not isinstance(given, Mapping) or (unknown := [name for name in given if name not in names]):
        wrong = shown(given) if not isinstance(given, Mapping) else ", ".join(map(str, unknown))
        raise ConfigError(f"TELLWIRE: got {wrong}; allowed: a dictionary with some of {', '.join(names)}")
    values = {str(name).lower(): value for name, value in given.items()}
    for name, value in values.items():
        kind, words = _KINDS.get(name, (object, ""))
        if not isinstance(value, kind):
            raise ConfigError(f"TELLWIRE[{name.upper()!r}]: got {type(value).__name__}; allowed: {words}")
    return Configuration(**values)


def require_valid(environ: Mapping[str, str]) -> None:
    """Check the setting as producers and the token endpoint use it.

    Raises:
        ConfigError: a value is missing or wrong.
    """
    from tellwire.auth import mint_token

    own = configuration()
    complete = {**environ, **own.variables(environ)}
    carrier_from_environment(complete)
    if not own.secret:
        raise ConfigError(
            "TELLWIRE['JWT_SECRET']: not set; allowed: the gateway's secret, of at least 32 bytes; with DEBUG it is "
            "that of `tellwire serve --dev`"
        )
    mint_token(own.secret, "1", own.token_ttl_seconds)
    _user_id_function(own)


def user_id_of(user: Any) -> str:
    """Return the id that tellwire has for a Django user: the primary key, or that of the setting `USER`.

    Raises:
        ConfigError: the setting is wrong.

    Example:
        broadcast_to_user(user_id_of(request.user), message)
    """
    return str(_user_id_function(configuration())(user))


def _user_id_function(own: Configuration) -> UserId:
    if own.user is None:
        return lambda user: user.pk
    try:
        function = import_string(own.user) if isinstance(own.user, str) else own.user
    except ImportError as error:
        raise ConfigError(f"TELLWIRE['USER']: got {shown(own.user)}; allowed: a function's path: {error}") from error
    if not callable(function):
        raise ConfigError(f"TELLWIRE['USER']: got {shown(own.user)}; allowed: a function of a user, or its path")
    chosen: UserId = function
    return chosen
