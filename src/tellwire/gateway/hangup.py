"""SIGHUP, which asks a daemon to read its configuration again, without an end of its connections.

It also says that the terminal of a process was closed; then the process must end, and not go on unseen.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any


def hold_hangup() -> None:
    """Keep a SIGHUP that comes from now on until `on_hangup`: without a handler it would end the process.

    To be called early by a program's main thread. With a terminal it does nothing: its end is the end of the program.
    """
    if hasattr(signal, "pthread_sigmask") and not _has_terminal():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


@contextmanager
def on_hangup(reload: Callable[[], Awaitable[None]], stop: Callable[[], None]) -> Iterator[None]:
    """Await `reload` for each SIGHUP inside the block, one after the other; call `stop` if the terminal was closed.

    Does nothing where there is no such signal, where it is ignored (`nohup`), or outside of the main thread, which
    alone gets signals.
    """
    loop = asyncio.get_running_loop()
    one_at_a_time = asyncio.Lock()
    tasks: set[asyncio.Task[None]] = set()
    had_terminal = _has_terminal()

    async def run() -> None:
        async with one_at_a_time:
            await reload()

    def act() -> None:
        if had_terminal and not _has_terminal():
            stop()
            return
        task = loop.create_task(run(), name="tellwire-reload")
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    number: Any = getattr(signal, "SIGHUP", None)
    try:
        is_handled = number is not None and signal.getsignal(number) is not signal.SIG_IGN
        if is_handled:
            loop.add_signal_handler(number, act)
            _let_through()
    except (NotImplementedError, RuntimeError, ValueError):
        is_handled = False
    try:
        yield
    finally:
        if is_handled:
            with contextlib.suppress(RuntimeError, ValueError):
                loop.remove_signal_handler(number)
        for task in tasks:
            task.cancel()


def _let_through() -> None:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
