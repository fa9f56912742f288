"""The address of a Redis, parsed from its URL. Pure.

    redis://[user:password@]host[:6379][/db]                                one Redis; rediss:// with TLS
    redis+sentinel://[user:password@]host[:26379],…/<master>[/db]           the master that Sentinel names
    redis+cluster://[user:password@]host[:6379],…                           a Redis Cluster

User, password and the master's name are percent-encoded where they have other characters than letters, digits and
`-._~`. The password is a secret: it is in no `repr`, and in no text of an error.
"""

import re
import ssl
from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote

from msgspec import Struct

from tellwire.errors import ConfigError

REDIS_PORT: Final = 6379
SENTINEL_PORT: Final = 26379
MASK: Final = "********"

Kind = Literal["standalone", "sentinel", "cluster"]


class Endpoint(NamedTuple):
    """One Redis, or one Sentinel."""

    host: str
    port: int


_FORMS: Final = (
    "redis://[user:password@]host[:port][/db], redis+sentinel://…host[:port],…/<master>[/db] or "
    "redis+cluster://…host[:port],…; with TLS: rediss"
)
_SCHEME: Final = re.compile(r"(rediss?)(?:\+(sentinel|cluster))?")
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_TLS_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_SENTINEL_LOGIN: Final = ("sentinel_username", "sentinel_password")
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+")
_IPV6: Final = re.compile(r"[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?")


class RedisAddress(Struct, frozen=True, kw_only=True):
    """The hosts of a Redis, and the login.

    `hosts` are those of Sentinels or of some nodes of a cluster, where it is not one Redis. The TLS files are paths;
    None: the system's certificate authorities, and no certificate of ours.
    """

    kind: Kind
    hosts: tuple[Endpoint, ...]
    username: str | None = None
    password: str | None = None
    db: int = 0
    master: str = ""
    tls: bool = False
    ssl_ca_certs: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = None

    @classmethod
    def parse(cls, url: str) -> "RedisAddress":
        """Parse a URL.

        Raises:
            ConfigError: it is no address of a Redis; the text has nothing of its user and password.
        """
        scheme, colons, rest = url.strip().partition("://")
        form = _SCHEME.fullmatch(scheme)
        if not colons or form is None:
            # All of it may be a secret, such as a password that was put in the wrong variable.
            raise _wrong("an address of an unknown form", _FORMS)
        tls, kind = form[1] == "rediss", form[2] or "standalone"
        before_query, _, query = rest.partition("?")
        if "#" in before_query:
            raise _wrong("a '#'", "'%23' in a password; an address has no fragment")
        authority, _, path = before_query.partition("/")
        login, at, hosts = authority.rpartition("@")
        username, password = _login(login) if at else (None, None)
        default_port = SENTINEL_PORT if kind == "sentinel" else REDIS_PORT
        parsed = [_host(each, default_port) for each in hosts.split(",")]
        if kind == "standalone" and len(parsed) > 1:
            raise _wrong(f"{len(parsed)} hosts", "one host, or redis+sentinel:// or redis+cluster:// before several")
        master, db = _path(path, kind)
        return cls(
            kind=kind,  # type: ignore[arg-type]
            hosts=tuple(parsed),
            username=username,
            password=password,
            db=db,
            master=master,
            tls=tls,
            **_options(query, kind, tls),
        )

    @property
    def masked(self) -> str:
        """The address as a URL without secrets, for people."""
        scheme = f"redis{'s' if self.tls else ''}{'' if self.kind == 'standalone' else f'+{self.kind}'}"
        login = "" if self.password is None else f"{self.username or ''}:{MASK}@"
        places = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        path = "".join(f"/{part}" for part in (self.master, self.db or "") if part != "")
        return f"{scheme}://{login}{places}{path}"

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return the context of a connection; None without TLS.

        Raises:
            ConfigError: a file cannot be read.
        """
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ssl_ca_certs)
            if self.ssl_certfile is not None:
                context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile)
        except OSError as error:
            raise _wrong(f"TLS files that cannot be read ({error.strerror or 'no PEM'})", "files in PEM") from None
        return context

    def __repr__(self) -> str:
        return f"RedisAddress({self.masked!r})"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        # msgspec's own has every field, the password too; rich asks for it in tracebacks.
        return [("url", self.masked)]


def _wrong(given: str, allowed: str) -> ConfigError:
    return ConfigError(f"TELLWIRE_REDIS_URL: got {given}; allowed: {allowed}")


def _unescape(text: str, part: str) -> str:
    if _BROKEN_ESCAPE.search(text):
        raise _wrong(f"a '%' in {part} that is no escape", "'%25' for a '%' itself")
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise _wrong(f"escapes in {part} that are not UTF-8", "percent-encoded UTF-8") from None


def _login(text: str) -> tuple[str | None, str | None]:
    user, colon, password = text.partition(":")
    if not colon:
        raise _wrong("a user without a password", "user:password@, or :password@ for the default user")
    if "/" in password or "?" in password:
        raise _wrong("a '/' or '?' in the password", "'%2F' and '%3F'")
    return _unescape(user, "the user") or None, _unescape(password, "the password") or None


def _host(text: str, default_port: int) -> Endpoint:
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        is_valid = bool(closed) and _IPV6.fullmatch(host) is not None and ":" in host
        colon, port = rest[:1], rest[1:]
        is_valid = is_valid and colon in ("", ":")
    else:
        host, colon, port = text.partition(":")
        is_valid = _HOST.fullmatch(host) is not None
    if not is_valid:
        # Part of a password is here if it has an '@' or a '/' that is not escaped.
        raise _wrong("an invalid host", "a name or an address, IPv6 in brackets; escape '@', '/' in a password")
    if colon and not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) <= 65535):
        raise _wrong("an invalid port", "1 to 65535 after the host; escape '@', ':', '/' in a password")
    return Endpoint(host, int(port) if colon else default_port)


def _path(path: str, kind: str) -> tuple[str, int]:
    parts = path.split("/")
    master = ""
    if kind == "sentinel":
        master = _unescape(parts.pop(0), "the master's name")
        if not master:
            raise _wrong("no master's name", "redis+sentinel://host,…/<master>[/db], as in Sentinel's configuration")
    db = parts.pop(0) if parts else ""
    if parts or not (db == "" or (db.isascii() and db.isdecimal() and len(db) <= 5)):
        raise _wrong("an invalid path", "the number of a database")
    if kind == "cluster" and db not in ("", "0"):
        raise _wrong(f"database {db}", "none: a Redis Cluster has only database 0")
    return master, int(db or 0)


def _options(query: str, kind: str, tls: bool) -> dict[str, str]:
    allowed = (_TLS_FILES if tls else ()) + (_SENTINEL_LOGIN if kind == "sentinel" else ())
    if not query:
        return {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        raise _wrong("invalid options", "?name=value&…") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in allowed:
            known = ", ".join(allowed) or "none"
            given = name if name in _TLS_FILES + _SENTINEL_LOGIN else "an unknown one"
            needs = "; TLS needs rediss://" if name in _TLS_FILES else ""
            raise _wrong(f"the option {given}" if given == name else "an unknown option", known + needs)
        if name in found or not value:
            raise _wrong(f"the option {name} twice or empty", "each once, with a value")
        found[name] = value
    if ("ssl_certfile" in found) != ("ssl_keyfile" in found):
        raise _wrong("one of ssl_certfile and ssl_keyfile", "both or neither")
    return found
