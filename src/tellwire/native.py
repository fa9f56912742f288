"""Threads and selectors of the operating system, also in a program whose threads are green.

gevent and eventlet replace Python's threads by greenlets, which take turns on one thread. An event loop in a greenlet
would never give way to the others; on a thread of its own it disturbs nobody.
"""

import importlib
import selectors
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

_PATCHERS: Final = {
    # The module that replaces, its question whether it did, and the parts that it is asked for.
    "gevent": ("gevent.monkey", "is_module_patched", ("threading", "select", "socket")),
    "eventlet": ("eventlet.patcher", "is_monkey_patched", ("thread", "select", "socket")),
}

Join = Callable[[float], bool]
"""Wait at most these seconds for a thread. True: it has ended."""


def green_library() -> str | None:
    """Return the library that has made threads, selectors or sockets green: "gevent", "eventlet", or None."""
    for library, (module, question, parts) in _PATCHERS.items():
        patcher = sys.modules.get(module)
        if patcher is not None and any(map(getattr(patcher, question), parts)):
            return library
    return None


def original(module: str, name: str) -> Any:
    """Return a name of the standard library as it was before a green library replaced it."""
    match green_library():
        case "gevent":
            return sys.modules["gevent.monkey"].get_original(module, name)
        case "eventlet":
            return getattr(sys.modules["eventlet.patcher"].original(module), name)
        case _:
            return getattr(importlib.import_module(module), name)


def start_thread(target: Callable[[], None], name: str) -> Join:
    """Start a daemon thread of the operating system; return a function that waits for its end.

    Raises:
        RuntimeError: the interpreter is exiting (Python 3.12 and later).
    """
    if green_library() is None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()

        def join(seconds: float) -> bool:
            thread.join(seconds)
            return not thread.is_alive()

        return join

    running = original("_thread", "allocate_lock")()
    running.acquire()

    def run() -> None:
        try:
            target()
        finally:
            running.release()

    original("_thread", "start_new_thread")(run, ())
    return lambda seconds: bool(running.acquire(timeout=seconds))


class _Poll(Protocol):
    """An object of `select.poll`."""

    def register(self, fd: int, events: int, /) -> None: ...
    def unregister(self, fd: int, /) -> None: ...
    def poll(self, timeout: float | None, /) -> list[tuple[int, int]]: ...


class NativeSelector(selectors.BaseSelector):
    """A selector that blocks its thread, where the standard library's would switch to another greenlet."""

    _IN: Final = 1
    _OUT: Final = 4

    def __init__(self) -> None:
        self._poll: _Poll = original("select", "poll")()
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        fd = _number(fileobj)
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} is already registered")
        key = selectors.SelectorKey(fileobj, fd, events, data)
        wanted = (self._IN if events & selectors.EVENT_READ else 0) | (
            self._OUT if events & selectors.EVENT_WRITE else 0
        )
        self._poll.register(fd, wanted)
        self._keys[fd] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        fd = next((fd for fd, key in self._keys.items() if key.fileobj is fileobj), None)
        key = self._keys.pop(_number(fileobj) if fd is None else fd)
        self._poll.unregister(key.fd)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # Rounded up, so that a loop with a timer in half a millisecond does not spin.
        wait_ms = None if timeout is None else max(0, -int(-timeout * 1000 // 1))
        try:
            found = self._poll.poll(wait_ms)
        except InterruptedError:
            return []
        return [(self._keys[fd], _ready(happened, self._keys[fd].events)) for fd, happened in found if fd in self._keys]

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return {key.fileobj: key for key in self._keys.values()} | self._keys

    def close(self) -> None:
        self._keys.clear()


def _ready(happened: int, wanted: int) -> int:
    # An error or a hang-up is ready for both: the next call of the socket tells.
    read = selectors.EVENT_READ if happened & ~NativeSelector._OUT else 0
    write = selectors.EVENT_WRITE if happened & ~NativeSelector._IN else 0
    return (read | write) & wanted


def _number(fileobj: Any) -> int:
    return fileobj if isinstance(fileobj, int) else int(fileobj.fileno())
