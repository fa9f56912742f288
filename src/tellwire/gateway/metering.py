"""The metering of a node: its counts while it runs, and the ways to read them. Off, there is none of it."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from starlette.routing import BaseRoute, Route

from tellwire.api_keys import Scope
from tellwire.config import Settings
from tellwire.counts import Counts
from tellwire.engine import Engine
from tellwire.errors import ConfigError
from tellwire.gateway.api_key import ApiKeyGuard
from tellwire.gateway.spans import TracingObserver
from tellwire.ports import NullObserver, Observer
from tellwire.server.sockets import Sockets
from tellwire.topics import TopicRules

if TYPE_CHECKING:
    from tellwire.gateway.metrics import Exposition, LiveValues


class Metering:
    """The counts of a node whose settings have `metrics`, or the `console`.

    Raises:
        ConfigError: prometheus-client is not installed, or several workers have no `metrics_port`.
    """

    def __init__(self, settings: Settings, topics: TopicRules) -> None:
        if settings.metrics:
            _check(settings)
        self._settings = settings
        self.counts = Counts(topics)

    def exposition(self, engine: Engine, sockets: Sockets) -> "Exposition | None":
        """Return the text of the counts, for a node that is open; None: the settings have no `metrics`."""
        if not self._settings.metrics:
            return None
        from tellwire.gateway.metrics import Exposition, NodeMetrics

        return Exposition(NodeMetrics(self.counts, lambda: _live(engine, sockets), self._settings.chosen_engine))

    def listening(self, exposition: "Exposition", worker: int) -> AbstractContextManager[None]:
        """Return a block in which the metrics have a port of their own, if the settings say so.

        Raises:
            ConfigError: its address cannot be listened on.
        """
        port = self._settings.metrics_port
        return nullcontext() if port is None else exposition.listening(self._settings.metrics_host, port + worker)


def _check(settings: Settings) -> None:
    try:
        import tellwire.gateway.metrics  # noqa: F401 - the extra must be there when the node is made
    except ModuleNotFoundError as error:
        raise ConfigError(f"TELLWIRE_METRICS: {error}") from error
    if settings.workers > 1 and settings.metrics_port is None:
        raise ConfigError(
            f"TELLWIRE_METRICS: got {settings.workers} workers without TELLWIRE_METRICS_PORT; needed: the port of "
            "worker-1, and the others have those after it, because each worker has counts of its own"
        )


def metrics_route(exposition: "Exposition", key: ApiKeyGuard) -> BaseRoute:
    """Return the endpoint of the metrics, for keys with the scope `metrics` or `admin`."""
    return Route("/metrics", key.guarded(exposition.answer, Scope.METRICS, Scope.ADMIN), methods=["GET"])


def observer_of(settings: Settings, topics: TopicRules, metering: Metering | None, own: Observer | None) -> Observer:
    """Return the observer of a node: its counts, its traces, and `own`, that of the program.

    Raises:
        ConfigError: OpenTelemetry is not installed, and the settings have `tracing`.
    """
    observers: list[Observer] = [] if metering is None else [metering.counts]
    if settings.tracing:
        try:
            observers.append(TracingObserver(topics))
        except ModuleNotFoundError as error:
            raise ConfigError(f"TELLWIRE_TRACING: {error}: pip install 'tellwire[tracing]'") from error
    if own is not None:
        observers.append(own)
    return functools.reduce(both, observers) if observers else NullObserver()


def both(first: Observer, second: Observer) -> Observer:
    """Return an observer that calls two."""
    pair = _Pair()
    for name in vars(NullObserver):
        if not name.startswith("_"):
            setattr(pair, name, _calling(getattr(first, name), getattr(second, name)))
    return pair


class _Pair(NullObserver):
    """Its methods are set one by one."""


def _calling(first: Callable[..., None], second: Callable[..., None]) -> Callable[..., None]:
    def call(*values: Any) -> None:
        first(*values)
        second(*values)

    return call


def _live(engine: Engine, sockets: Sockets) -> "LiveValues":
    from tellwire.gateway.metrics import LiveValues

    hub = engine.hub
    waiting = [each.waiting for each in list(sockets.behind)]
    return LiveValues(
        connections=0 if hub is None else len(hub),
        subscriptions=0 if hub is None else hub.count_subscriptions(),
        behind=len(waiting),
        waiting_messages=sum(messages for messages, _ in waiting),
        waiting_bytes=sum(size for _, size in waiting),
        slow_closed=sockets.slow_closed,
        unanswered_closed=sockets.unanswered_closed,
        trouble=engine.trouble() is not None,
        is_draining=sockets.drain.has_begun,
    )
