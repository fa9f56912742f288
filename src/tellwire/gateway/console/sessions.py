"""Sessions of the console: who has signed in, and until when. Pure.

A session ends when it was idle for a while, after a working day, by signing out, and when the API keys are read anew.
Only digests of the ids are kept, so that a dump of the memory signs nobody in.
"""

import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256

from tellwire.limits import CONSOLE_IDLE_SECONDS, CONSOLE_SESSION_SECONDS, CONSOLE_SESSIONS


@dataclass(slots=True)
class Session:
    """A session. `key` is the name of the API key that opened it; `keys` are those that the guard had then."""

    key: str
    csrf_token: str
    ends_at: float
    idle_at: float
    keys: object

    def has_token(self, given: str) -> bool:
        """Return True if this is its CSRF token."""
        return hmac.compare_digest(self.csrf_token.encode(), given.encode("utf-8", "surrogateescape"))


class Sessions:
    """All sessions of a node. The oldest make room for new ones. Times are of the monotonic clock."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()

    def open(self, key: str, keys: object, now: float) -> tuple[str, Session]:
        """Return the id of a new session, which is given out this once, and the session."""
        session_id = secrets.token_urlsafe(32)
        session = Session(
            key, secrets.token_urlsafe(32), now + CONSOLE_SESSION_SECONDS, now + CONSOLE_IDLE_SECONDS, keys
        )
        self._sessions[_digest(session_id)] = session
        if len(self._sessions) > CONSOLE_SESSIONS:
            self._sessions.popitem(last=False)
        return session_id, session

    def find(self, session_id: str, keys: object, now: float) -> Session | None:
        """Return a session that lasts, and let it last longer; None: there is none, or the keys are others now."""
        digest = _digest(session_id)
        session = self._sessions.get(digest)
        if session is None:
            return None
        if now >= min(session.ends_at, session.idle_at) or session.keys is not keys:
            del self._sessions[digest]
            return None
        session.idle_at = now + CONSOLE_IDLE_SECONDS
        return session

    def close(self, session_id: str) -> None:
        """End a session. It need not exist."""
        self._sessions.pop(_digest(session_id), None)


def _digest(session_id: str) -> bytes:
    return sha256(session_id.encode("utf-8", "surrogateescape")).digest()
