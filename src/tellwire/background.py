"""The background event loop of synchronous code: one thread in each process, started when first needed.

    a thread            waits for a future
    a greenlet          waits for a socket, as gevent and eventlet do, so others have their turn
    an exit handler     after the loop has stopped: runs the work itself

A child process starts its own. Work runs in the caller's context, so a deadline set around a call applies.
"""

import asyncio
import atexit
import contextvars
import functools
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from tellwire.errors import CannotRunHere
from tellwire.limits import EXIT_DELAY_SECONDS
from tellwire.native import Join, NativeSelector, green_library, start_thread

T = TypeVar("T")

_STOP_SECONDS: Final = 1.0


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on the background loop and wait for its result. From any thread, greenlet or exit handler.

    Raises:
        CannotRunHere: on the background loop itself, in an exit handler while an event loop runs, or after all exit
            handlers, when the interpreter throws its objects away.
    """
    if sys.is_finalizing():
        work.close()
        raise CannotRunHere("the interpreter is exiting, and runs no more threads")
    loop = background_loop()
    if loop.is_closed():
        return _run_in_exit_handler(work)
    if is_on_background_loop():
        work.close()
        raise CannotRunHere("tellwire.sync waits for the event loop that this runs on: await tellwire's functions here")
    if green_library() is not None:
        return _wait_in_greenlet(work, loop)
    with _blocking():
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C is raised here, in the waiting thread: cancel the work, too.
            future.cancel()
            raise


def start(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` on the background loop without waiting for it: for a thread that was interrupted, and must go on."""
    loop = background_loop()

    def begin() -> None:
        task = loop.create_task(work, name="tellwire-background")
        _started.add(task)
        task.add_done_callback(_started.discard)

    try:
        loop.call_soon_threadsafe(begin)
    except RuntimeError:  # the loop is closed
        work.close()


_started: Final[set[asyncio.Task[None]]] = set()
"""The tasks of `start`: an event loop itself keeps no task alive."""


def is_on_background_loop() -> bool:
    """Return True on the thread of the background loop."""
    return asyncio._get_running_loop() is background_loop()


_blocked: ContextVar[asyncio.AbstractEventLoop | None] = ContextVar("tellwire_blocked_loop", default=None)


def blocked_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that stands still while this work runs, because its thread waits in `run`; None: none."""
    return _blocked.get()


@contextmanager
def _blocking() -> Iterator[None]:
    running = asyncio._get_running_loop()
    if running is None:
        yield
        return
    token = _blocked.set(running)
    try:
        yield
    finally:
        _blocked.reset(token)


_starting = threading.Lock()


def _renew_lock() -> None:
    # Another thread of the parent may have held it.
    global _starting
    _starting = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def background_loop() -> asyncio.AbstractEventLoop:
    """Return the loop of this process. It is closed once the process exits."""
    with _starting:
        return _start_loop(os.getpid())


@functools.cache
def _start_loop(process_id: int) -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop() if green_library() is None else _NativeLoop(NativeSelector())
    try:
        join = start_thread(functools.partial(_run_forever, loop), f"tellwire-{process_id}")
    except RuntimeError:
        loop.close()  # the interpreter is exiting
        return loop
    atexit.register(_stop_loop, process_id, loop, join)
    return loop


def _run_forever(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            continue  # asyncio lets these end the loop, too; the caller of the work that raised gets it
        else:
            return


def _stop_loop(process_id: int, loop: asyncio.AbstractEventLoop, join: Join) -> None:
    if process_id != os.getpid():
        return  # a forked child inherits its parent's exit handlers, but not the thread
    # A daemon thread that is still busy while the interpreter shuts down can crash it.
    loop.call_soon_threadsafe(loop.stop)
    if join(_STOP_SECONDS):
        loop.close()


# Green programs


class _NativeLoop(asyncio.SelectorEventLoop):
    """An event loop for a native thread of a green program: its executor is native, too."""

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        if executor is not None:
            return super().run_in_executor(executor, func, *args)
        future: asyncio.Future[Any] = self.create_future()

        def work() -> None:
            outcome: Callable[[], None]
            try:
                result = func(*args)
            except BaseException as error:  # noqa: BLE001 - it is the outcome
                outcome = functools.partial(_set, future, error=error)
            else:
                outcome = functools.partial(_set, future, result)
            with suppress(RuntimeError):  # the loop is closed
                self.call_soon_threadsafe(outcome)

        start_thread(work, "tellwire-executor")
        return future


def _set(future: "asyncio.Future[Any]", result: Any = None, error: BaseException | None = None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def _wait_in_greenlet(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
    # These sockets are the green library's: to receive is to let other greenlets run.
    ours, theirs = socket.socketpair()
    tasks: list[asyncio.Task[T]] = []

    def begin() -> None:
        task = loop.create_task(work)
        tasks.append(task)
        task.add_done_callback(wake)

    def wake(_: object) -> None:
        with suppress(OSError):  # the greenlet waits no more
            theirs.send(b"\0")

    def cancel() -> None:
        for task in tasks:
            task.cancel()

    with closing(ours), closing(theirs):
        theirs.setblocking(False)
        loop.call_soon_threadsafe(begin, context=contextvars.copy_context())
        try:
            ours.recv(1)
        except BaseException:
            # GreenletExit, or a timeout of the green library.
            loop.call_soon_threadsafe(cancel)
            raise
    return tasks[0].result()


# Exit handlers


class _ExitLoop(asyncio.SelectorEventLoop):
    """An event loop for exit handlers, when no thread can be started any more: not even to resolve a name."""

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        future: asyncio.Future[Any] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is the outcome
            future.set_exception(error)
        return future


@functools.cache
def _exit_loop(process_id: int) -> asyncio.AbstractEventLoop:
    return _ExitLoop()


def _run_in_exit_handler(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` here: exit handlers are called one after the other, when the background loop may have stopped."""
    loop = _exit_loop(os.getpid())
    if asyncio._get_running_loop() is not None or loop.is_running():
        work.close()
        raise CannotRunHere("tellwire.sync has stopped, since the interpreter is exiting: await tellwire's functions")
    try:
        return loop.run_until_complete(work)
    finally:
        time.sleep(EXIT_DELAY_SECONDS)
        if not asyncio.all_tasks(loop):  # no upload is open
            loop.close()
            _exit_loop.cache_clear()
