"""The calls that are in flight on one connection: the bytes to send, and whose each reply is. Pure.

    pack(calls)   scripts that this Redis lacks, the calls and, if replicas must have their writes, WAIT
    take(reply)   the calls that have their replies now, in the order in which they were sent

An error of Redis is the reply of its call.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final, cast

from msgspec import Struct
from redis.exceptions import NoScriptError

from tellwire.engines.redis.link.scripts import Script
from tellwire.engines.redis.link.waiting import Joinable, Waiting, joined, packed
from tellwire.errors import HistoryUnavailable
from tellwire.limits import REDIS_JOINED_BYTES, REDIS_JOINED_CALLS, REDIS_TIMEOUT_SECONDS

_WAIT_SHARE: Final = 0.5
_ASKING: Final = packed(("ASKING",))

Replied = tuple[Waiting, Any]


class _Asking:
    """The reply of ASKING."""


class _Replicas:
    """The reply of WAIT: the number of replicas."""


_Sent = Waiting | list[Waiting] | Script | type[_Asking] | type[_Replicas]


class _Pipeline(Struct):
    """A pipeline in flight. `sent` has whose the next replies are, `unsafe` the replies that count when replicas have
    answered; None: it has no write that must wait for them.
    """

    sent: deque[_Sent]
    unsafe: list[Replied] | None


class Pipelines:
    """The pipelines in flight. After each with a write, `wait_replicas` must have it."""

    def __init__(self, wait_replicas: int = 0) -> None:
        self._wait_replicas = wait_replicas
        self._wait_ms = int(REDIS_TIMEOUT_SECONDS * _WAIT_SHARE * 1000)
        self._wait = packed(("WAIT", wait_replicas, self._wait_ms))
        self._in_flight: deque[_Pipeline] = deque()
        self._loaded: set[bytes] = set()
        self._refused: dict[bytes, Exception] = {}
        self.calls = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._in_flight)

    def pack(self, calls: Sequence[Waiting]) -> bytes:
        """Return the bytes of one more pipeline."""
        pieces: list[bytes] = []
        pipeline = _Pipeline(deque(), None)
        for group in _groups(calls):
            self._pack(group, pipeline.sent, pieces)
        self.calls += len(calls)
        self.bytes += sum([call.size for call in calls])
        if self._wait_replicas and any(call.writes for call in calls):
            pipeline.unsafe = []
            pipeline.sent.append(_Replicas)
            pieces.append(self._wait)
        self._in_flight.append(pipeline)
        return b"".join(pieces)

    def _pack(self, group: list[Waiting], sent: deque[_Sent], pieces: list[bytes]) -> None:
        first = group[0]
        script = first.script
        # Before its call: that must not run before an earlier one whose script is missing.
        if script is not None and script.sha not in self._loaded:
            self._loaded.add(script.sha)
            sent.append(script)
            pieces.append(packed(("SCRIPT", "LOAD", script.text)))
        if first.is_asking:
            sent.append(_Asking)
            pieces.append(_ASKING)
        if script is not None and isinstance(first, Joinable):
            sent.append(group)
            pieces.append(joined(script, cast("list[Joinable]", group)))
        else:
            sent.append(first)
            pieces.append(first.packed)

    def take(self, reply: Any) -> Sequence[Replied]:
        """Take the next reply, and return the calls that have theirs now.

        Raises:
            IndexError: nothing is in flight.
        """
        pipeline = self._in_flight[0]
        sent = pipeline.sent.popleft()
        if not pipeline.sent:
            self._in_flight.popleft()
        if isinstance(sent, Waiting):
            return self._answered(pipeline, [(sent, reply)])
        if isinstance(sent, list):
            is_one = isinstance(reply, Exception)
            return self._answered(pipeline, list(zip(sent, [reply] * len(sent) if is_one else reply, strict=True)))
        if isinstance(sent, Script):
            self._take_loaded(sent, reply)
        elif sent is _Replicas:
            return self._safe(pipeline.unsafe or [], reply)
        return ()

    def _answered(self, pipeline: _Pipeline, replied: list[Replied]) -> Sequence[Replied]:
        self.calls -= len(replied)
        self.bytes -= sum([call.size for call, _ in replied])
        if isinstance(replied[0][1], NoScriptError):
            replied = [(call, self._without_script(call, reply)) for call, reply in replied]
        if pipeline.unsafe is None:
            return replied
        pipeline.unsafe += replied
        return ()

    def clear(self) -> list[Waiting]:
        """Return the calls without a reply: the connection is lost. The next one has no scripts."""
        calls: list[Waiting] = []
        for pipeline in self._in_flight:
            calls += [call for call, _ in pipeline.unsafe or ()]
            for each in pipeline.sent:
                calls += each if isinstance(each, list) else [each] if isinstance(each, Waiting) else []
        self._in_flight.clear()
        self._loaded.clear()
        self._refused.clear()
        self.calls = self.bytes = 0
        return calls

    def _take_loaded(self, script: Script, reply: Any) -> None:
        if isinstance(reply, Exception):
            self._loaded.discard(script.sha)
            self._refused[script.sha] = reply
        else:
            self._refused.pop(script.sha, None)

    def _without_script(self, call: Waiting, reply: Any) -> Any:
        refused = None if call.script is None else self._refused.get(call.script.sha)
        if refused is None:
            # Redis was started again, or somebody has flushed them: all are missing.
            self._loaded.clear()
        return refused or reply

    def _safe(self, unsafe: list[Replied], replicas: Any) -> list[Replied]:
        """Replace the replies of writes by an error if too few replicas have them. An equal call later waits anew."""
        if isinstance(replicas, Exception):
            error = replicas
        elif replicas < self._wait_replicas:
            error = HistoryUnavailable(
                f"{replicas} replicas have it within {self._wait_ms} ms, of {self._wait_replicas} that must"
            )
        else:
            return unsafe
        return [(call, error if call.writes and not isinstance(reply, Exception) else reply) for call, reply in unsafe]


def _groups(calls: Sequence[Waiting]) -> list[list[Waiting]]:
    """Return the calls, in their order, those together that are sent as one."""
    groups: list[list[Waiting]] = []
    size = 0
    for call in calls:
        is_joined = (
            isinstance(call, Joinable)
            and groups
            and len(groups[-1]) < REDIS_JOINED_CALLS
            and size + call.size <= REDIS_JOINED_BYTES
            and call.joins(groups[-1][-1])
        )
        if is_joined:
            groups[-1].append(call)
            size += call.size
        else:
            groups.append([call])
            size = call.size
    return groups
