"""The Lua scripts of the engine: a file each in `lua/`, called by the SHA-1 of its text.

A line `-- include <name>` stands for `lua/shared/<name>.lua`. The first line is Redis's: `#!lua flags=…`. With
`no-writes` a script also runs where Redis takes no writes; without it, Redis refuses before anything is written when
its memory is full.

The first argument of most scripts is the time. Nothing stands for Redis's own, the one clock of all nodes and
producers.
"""

import hashlib
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

from msgspec import Struct

from tellwire.ports import Clock, SystemClock

Time = Callable[[], str]
"""Returns the first argument of a script: the time in epoch seconds, or nothing for Redis's own."""

_FOLDER: Final = Path(__file__).parents[1] / "lua"
_INCLUDE: Final = re.compile(r"^-- include ([a-z_]+)$", re.MULTILINE)


class Script(Struct, frozen=True, gc=False):
    """A script. `writes`: False for one that only reads. `allow_oom`: it runs with a full memory, too."""

    name: str
    text: bytes
    sha: bytes
    writes: bool
    allow_oom: bool = False


@cache
def script(name: str) -> Script:
    """Return the script `lua/<name>.lua`."""
    text = _INCLUDE.sub(lambda match: _read(f"shared/{match[1]}"), _read(name)).encode()
    # Redis names scripts so; nothing depends on it being safe.
    sha = hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()
    flags = text.partition(b"\n")[0]
    return Script(name, text, sha, b"no-writes" not in flags, b"allow-oom" in flags)


def _read(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text("utf-8").rstrip("\n")


def time_of(clock: Clock) -> Time:
    """Return the time for scripts: that of a `clock` that is not the system's; else nothing, for Redis's own."""
    if isinstance(clock, SystemClock):
        return lambda: ""
    return lambda: f"{clock.now():.6f}"
