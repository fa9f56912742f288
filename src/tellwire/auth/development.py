"""The JWT secret for development, which `tellwire serve --dev` and `tellwire token` share."""

import os
import secrets
from pathlib import Path

from tellwire.errors import ConfigError


def development_secret() -> str:
    """Return the secret for development of this machine, created on first use and readable by its owner only.

    A fixed secret would be known to everybody: a gateway left in `--dev` mode would accept tokens from anyone.

    Raises:
        ConfigError: the file cannot be read or written.
    """
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    path = state / "tellwire" / "dev-secret"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return path.read_text().strip()
        with os.fdopen(file, "w") as new:
            new.write(secret := secrets.token_hex(32))
    except OSError as error:
        raise ConfigError(
            f"the development secret cannot be kept ({error.strerror}): set TELLWIRE_JWT_SECRET"
        ) from error
    return secret
