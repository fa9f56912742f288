"""The JWT secret for development, which `tellwire serve --dev` and `tellwire token` share."""

import os
from contextlib import suppress
from pathlib import Path

from tellwire.errors import ConfigError
from tellwire.limits import MIN_SECRET_BYTES


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
        if not (secret := _read(path)):
            _write(path, is_new=not path.exists())
            secret = _read(path)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise ConfigError(
            f"the development secret cannot be kept in {str(path)!r} ({why}): set TELLWIRE_JWT_SECRET"
        ) from error
    return secret


def _read(path: Path) -> str:
    """Return the secret; empty if there is none, or less than a whole one."""
    try:
        secret = path.read_text().strip()
    except FileNotFoundError:
        return ""
    return secret if len(secret) >= MIN_SECRET_BYTES else ""


def _write(path: Path, *, is_new: bool) -> None:
    """Write a secret as one step: another process, or the end of this one, never leaves or sees a part of it."""
    import secrets  # imported here, as functions on AWS import this module, and never call it
    import tempfile

    number, name = tempfile.mkstemp(dir=path.parent)  # readable by its owner only
    new = Path(name)
    try:
        with os.fdopen(number, "w") as file:
            file.write(secrets.token_hex(32))
        if is_new:
            with suppress(FileExistsError):  # another process was faster, and its secret counts
                path.hardlink_to(new)
        else:
            new.replace(path)
    finally:
        new.unlink(missing_ok=True)
