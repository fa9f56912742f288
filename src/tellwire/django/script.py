"""The address of the elements' script, as the gateway tells it, with its hash: kept for a minute."""

import logging
import threading
from time import monotonic
from typing import Final
from urllib.request import Request, urlopen

import msgspec
from msgspec import Struct

logger = logging.getLogger("tellwire.django")

KEEP_SECONDS: Final = 60.0
_TIMEOUT_SECONDS: Final = 2.0
_MAX_BYTES: Final = 4096


class Script(Struct, frozen=True):
    """The attributes of the script tag. Without a hash it is the newest script, which caches ask for each time."""

    src: str
    integrity: str = ""


class ScriptAddresses:
    """The script of one gateway. A page never waits long for it: one thread asks, the others go on with the last."""

    def __init__(self, url: str, public_url: str) -> None:
        self._url, self._public_url = url.rstrip("/"), public_url
        self._newest = Script(f"{public_url}/client/tellwire.js")
        self._known = self._newest
        self._until = 0.0
        self._asking = threading.Lock()

    def current(self) -> Script:
        """Return the script of now, or that of a minute ago."""
        if monotonic() >= self._until and self._asking.acquire(blocking=False):
            try:
                self._known = self._ask()
                self._until = monotonic() + KEEP_SECONDS
            finally:
                self._asking.release()
        return self._known

    def _ask(self) -> Script:
        try:
            request = Request(f"{self._url}/client", headers={"accept": "application/json"})  # noqa: S310 - a setting
            with urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
                told = msgspec.json.decode(answer.read(_MAX_BYTES), type=Script)
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            logger.warning("the gateway does not tell its script, so pages take the newest: %s", error)
            return self._newest
        # A gateway below a path may know of it or, behind a proxy, not.
        return Script(f"{self._public_url}/client/{told.src.rpartition('/')[2]}", told.integrity)
