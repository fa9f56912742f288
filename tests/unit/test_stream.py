"""Streams against a simple reference: a client that keeps to the rules has everything, once, and in order."""

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tellwire.messages import (
    TERMINAL_STATUSES,
    UploadProgress,
    UploadProgressMessage,
    UploadStatus,
    create_message,
    create_upload_progress_message,
    encode_message,
)
from tellwire.model import timestamp
from tellwire.stream import Stream
from tests.publications import for_user


@dataclass
class Client:
    """A client with its position and its states."""

    cursor: str | None = None
    log: list[int] = field(default_factory=list)
    states: dict[str, tuple[int, float]] = field(default_factory=dict)
    is_online: bool = False
    joined_at: int = 0

    def hear(self, payload: bytes) -> None:
        message: dict[str, Any] = json.loads(payload)
        if "cursor" in message:
            before = int((self.cursor or ":0").rpartition(":")[2])
            offset = int(message["cursor"].rpartition(":")[2])
            if offset > before:
                assert offset == before + 1, "a gap"
                self.log.append(message["data"])
                self.cursor = message["cursor"]
        elif message["version"] > self.states.get(message["key"], (0, 0.0))[0]:
            self.states[message["key"]] = (message["version"], message["data"]["progress"])


class Streams(RuleBasedStateMachine):
    """Publishers, and clients that come, go, and hear some things twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = Stream("epoch")
        self.said: list[int] = []
        self.newest: dict[str, float] = {}
        self.clients = [Client() for _ in range(3)]
        self.now = 0.0

    @rule()
    def publish(self) -> None:
        number = len(self.said)
        self.said.append(number)
        self._deliver(encode_message(create_message("note", number)))

    @rule(upload=st.integers(0, 2), value=st.integers(0, 99))
    def progress(self, upload: int, value: int) -> None:
        self.newest[f"upload:u{upload}"] = value
        self._deliver(encode_message(create_upload_progress_message(f"u{upload}", "f", value, "")))

    def _deliver(self, payload: bytes) -> None:
        entry = self.stream.append(for_user("anna", payload), self.now)
        assert entry is not None
        for client in self.clients:
            if client.is_online:
                client.hear(entry.payload)

    @rule(who=st.integers(0, 2), twice=st.booleans())
    def connect(self, who: int, *, twice: bool) -> None:
        client = self.clients[who]
        client.is_online = True
        replay = self.stream.read(client.cursor, self.now)
        assert replay.recovered
        if client.cursor is None:
            client.joined_at = len(self.said)
        for payload in (*replay.messages, *(state.payload for state in replay.snapshot)) * (2 if twice else 1):
            client.hear(payload)
        client.cursor = replay.cursor

    @rule(who=st.integers(0, 2))
    def disconnect(self, who: int) -> None:
        self.clients[who].is_online = False

    @rule()
    def restart(self) -> None:
        entries = [*self.stream._log, *self.stream._running.values(), *self.stream._ended.values()]
        self.stream = Stream("epoch", self.stream.offset, self.stream.version, entries)

    @invariant()
    def whoever_is_online_has_everything_once_in_order(self) -> None:
        for client in self.clients:
            if client.is_online:
                assert client.log == self.said[client.joined_at :]
                assert {key: value for key, (_, value) in client.states.items()} == self.newest


TestStreams = Streams.TestCase


STEPS = st.lists(
    st.tuples(
        st.integers(0, 4),  # the run
        st.integers(0, 3),  # a third of its progress
        st.sampled_from(["running", "running", "retrying", "complete", "failed", "cancelled"]),
        st.integers(-1000, 1000),  # by how much its host's clock is off
        st.sampled_from([0.0, 1.0, 20.0]),  # the time since the last one
    ),
    max_size=60,
)


@given(STEPS)
def test_a_superseded_run_never_comes_back_and_an_ended_one_only_if_it_failed(
    steps: list[tuple[int, int, UploadStatus, int, float]],
) -> None:
    stream = Stream("epoch")
    now, seen, current = 1_800_000_000.0, list[int](), ""
    for run, third, status, off, later in steps:
        now += later
        data = UploadProgress(
            upload_id="u", file_name="f", progress=33 * third, message="", status=status, run=f"{run}"
        )
        is_new, is_current = run not in seen, seen[-1:] == [run]
        ended = current in TERMINAL_STATUSES
        entry = stream.append(for_user("anna", UploadProgressMessage(data, timestamp(now + off))), now)
        if is_new:
            assert entry is not None, "an unknown run begins, whatever its clock says"
            seen.append(run)
        elif not is_current:
            assert entry is None, "it is superseded"
        elif ended and status not in TERMINAL_STATUSES and not (current == "failed" and third == 0):
            assert entry is None, "it has ended"
        elif not ended and status in TERMINAL_STATUSES:
            assert entry is not None, "its end always counts"
        current = status if entry is not None else current
        kept = stream.state("upload:u", now)
        assert kept is not None
        assert (kept.run, kept.status) == (f"{seen[-1]}", current)
