"""Pipelines in flight: whose each reply is, scripts that are loaded, replicas, and calls that are sent as one."""

from collections.abc import Callable
from typing import Any

import hiredis
import pytest
from redis.exceptions import NoPermissionError, NoScriptError, ResponseError

from tellwire.engines.redis.link.pipeline import Pipelines, Replied
from tellwire.engines.redis.link.scripts import script
from tellwire.engines.redis.link.waiting import Bulks, Joinable, Waiting, packed
from tellwire.errors import HistoryUnavailable

PING = script("ping")
APPEND = script("append")


def write(name: str) -> Waiting:
    return Waiting(packed(("SET", name, "v")), name.encode(), None, True, print)


def read(name: str) -> Waiting:
    return Waiting(packed(("EVALSHA", PING.sha, 1, name)), name.encode(), PING, False, print)


def append(name: str, slot: int = 0, common: str = "now") -> Joinable:
    call = Joinable(
        APPEND, name.encode(), Bulks.of((name, f"{name}-2")), Bulks.of((common,)), Bulks.of((f"{name}-args",)), print
    )
    call.slot = slot
    return call


def commands(data: bytes) -> list[list[bytes]]:
    reader = hiredis.Reader()
    reader.feed(data)
    found = []
    while (command := reader.gets()) is not False:
        found.append(command)
    return found


def answers(pipelines: Pipelines, *replies: Any) -> list[Replied]:
    return [each for reply in replies for each in pipelines.take(reply)]


def test_replies_are_those_of_the_calls_in_their_order() -> None:
    pipelines = Pipelines()
    one, two, three = write("1"), write("2"), write("3")
    pipelines.pack([one, two])
    pipelines.pack([three])
    assert (len(pipelines), pipelines.calls) == (2, 3)
    assert answers(pipelines, b"a", b"b") == [(one, b"a"), (two, b"b")]
    assert len(pipelines) == 1
    assert answers(pipelines, b"c") == [(three, b"c")]
    assert (len(pipelines), pipelines.calls, pipelines.bytes) == (0, 0, 0)
    with pytest.raises(IndexError):
        pipelines.take(b"of nobody")


def test_a_script_is_loaded_before_its_first_call_on_a_connection() -> None:
    pipelines = Pipelines()
    one, two = read("1"), read("2")
    first = commands(pipelines.pack([write("0"), one]))
    assert [each[:2] for each in first] == [[b"SET", b"0"], [b"SCRIPT", b"LOAD"], [b"EVALSHA", PING.sha]]
    assert [each[0] for each in commands(pipelines.pack([two]))] == [b"EVALSHA"]
    assert answers(pipelines, b"OK", PING.sha, b"x", b"y")[1:] == [(one, b"x"), (two, b"y")]
    pipelines.clear()
    assert [each[0] for each in commands(pipelines.pack([read("3")]))] == [b"SCRIPT", b"EVALSHA"]


def test_a_script_that_redis_has_forgotten_is_loaded_again_before_the_next_pipeline() -> None:
    pipelines = Pipelines()
    pipelines.pack([read("1")])
    [(_, error)] = answers(pipelines, PING.sha, NoScriptError())
    assert isinstance(error, NoScriptError)
    assert [each[0] for each in commands(pipelines.pack([read("2")]))] == [b"SCRIPT", b"EVALSHA"]


def test_a_script_that_may_not_be_loaded_is_the_error_of_its_calls() -> None:
    pipelines = Pipelines()
    pipelines.pack([read("1")])
    refused = NoPermissionError("this user has no permissions")
    assert answers(pipelines, refused, NoScriptError())[0][1] is refused


def test_replies_wait_for_replicas_if_the_pipeline_has_a_write() -> None:
    pipelines = Pipelines(wait_replicas=2)
    one, two, wrong, three = write("1"), read("2"), write("3"), read("4")
    assert commands(pipelines.pack([one, two, wrong]))[-1][:2] == [b"WAIT", b"2"]
    assert [each[0] for each in commands(pipelines.pack([three]))] == [b"EVALSHA"]
    error = ResponseError("WRONGTYPE")
    assert answers(pipelines, b"OK", PING.sha, b"x", error) == []
    found = answers(pipelines, 1)
    assert [call for call, _ in found] == [one, two, wrong]
    assert [answer for _, answer in found][1:] == [b"x", error]
    assert "1 replicas have it" in str(found[0][1])
    assert answers(pipelines, b"y") == [(three, b"y")]
    pipelines.pack([one])
    assert answers(pipelines, b"OK", 2) == [(one, b"OK")]
    pipelines.pack([one])
    assert isinstance(answers(pipelines, b"OK", error)[0][1], ResponseError)


def test_a_lost_connection_leaves_the_calls_without_a_reply_in_their_order() -> None:
    pipelines = Pipelines(wait_replicas=1)
    one, two, three, four = write("1"), write("2"), append("3"), append("4")
    pipelines.pack([one, two])
    pipelines.pack([three, four])
    assert answers(pipelines, b"OK") == []  # no replica has said that it has it
    assert pipelines.clear() == [one, two, three, four]
    assert (len(pipelines), pipelines.calls, pipelines.bytes) == (0, 0, 0)


def test_calls_that_may_run_together_are_one_command_and_get_their_own_answers() -> None:
    pipelines = Pipelines()
    one, two, three = append("1"), append("2"), append("3")
    [_, command] = commands(pipelines.pack([one, two, three]))
    keys = [b"1", b"1-2", b"2", b"2-2", b"3", b"3-2"]
    assert command == [b"EVALSHA", APPEND.sha, b"6", *keys, b"now", b"1-args", b"2-args", b"3-args"]
    wrong = ResponseError("WRONGTYPE")
    assert answers(pipelines, APPEND.sha, [b"a", wrong, b"c"]) == [(one, b"a"), (two, wrong), (three, b"c")]
    pipelines.pack([one, two])
    assert answers(pipelines, wrong) == [(one, wrong), (two, wrong)]


@pytest.mark.parametrize(
    "change",
    [
        lambda call: call,
        lambda call: append("2", slot=7),
        lambda call: append("2", common="later"),
        lambda call: write("2"),
    ],
)
def test_calls_of_different_slots_or_times_or_with_others_between_are_commands_of_their_own(
    change: Callable[[Joinable], Waiting],
) -> None:
    second = change(append("2"))
    found = commands(Pipelines().pack([append("1"), second, append("3")]))
    assert len(found) == 1 + (1 if isinstance(second, Joinable) and second.joins(append("1")) else 3)


def test_a_call_with_asking_is_not_joined() -> None:
    asking = append("2")
    asking.is_asking = True
    found = commands(Pipelines().pack([append("1"), asking, append("3")]))
    assert [each[0] for each in found] == [b"SCRIPT", b"EVALSHA", b"ASKING", b"EVALSHA", b"EVALSHA"]


def test_a_command_has_so_many_calls_and_bytes_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [append(str(number)) for number in range(5)]
    monkeypatch.setattr("tellwire.engines.redis.link.pipeline.REDIS_JOINED_CALLS", 2)
    assert [len(each) for each in commands(Pipelines().pack(calls))[1:]] == [3 + 7, 3 + 7, 3 + 4]
    monkeypatch.setattr("tellwire.engines.redis.link.pipeline.REDIS_JOINED_BYTES", calls[0].size)
    assert len(commands(Pipelines().pack(calls))) == 6


def test_too_few_replicas_are_no_answer_of_a_read() -> None:
    pipelines = Pipelines(wait_replicas=1)
    pipelines.pack([write("1"), read("2")])
    [(_, first), (_, second)] = answers(pipelines, b"OK", PING.sha, b"x", 0)
    assert isinstance(first, HistoryUnavailable)
    assert second == b"x"
