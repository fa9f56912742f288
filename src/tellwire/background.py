"""The background event loop of synchronous code: one thread in each process, started when first needed.

A child process starts its own. Work runs in the caller's context, so a deadline set around a call applies.
"""

import asyncio
import atexit
import functools
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_STOP_SECONDS = 1.0


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on the background loop and wait for its result."""
    loop = background_loop()
    if loop.is_closed():
        work.close()
        raise RuntimeError("tellwire.sync has stopped: the interpreter is exiting")
    if _is_running_here(loop):
        work.close()
        raise RuntimeError("tellwire.sync waits for the event loop that this runs on: await tellwire's functions here")
    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return future.result()
    except BaseException:
        # Ctrl-C is raised here, in the waiting thread: cancel the work, too.
        future.cancel()
        raise


def _is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


_starting = threading.Lock()


def background_loop() -> asyncio.AbstractEventLoop:
    """Return the loop of this process."""
    with _starting:
        return _start_loop(os.getpid())


@functools.cache
def _start_loop(process_id: int) -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=f"tellwire-{process_id}", daemon=True)
    thread.start()
    atexit.register(_stop_loop, process_id, loop, thread)
    return loop


def _stop_loop(process_id: int, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    if process_id != os.getpid():
        return  # a forked child inherits its parent's exit handlers, but not the thread
    # A daemon thread that is still busy while the interpreter shuts down can crash it.
    if thread.is_alive():
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_STOP_SECONDS)
    if not thread.is_alive():
        loop.close()
